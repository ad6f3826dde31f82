"""What the metrics listener answers to whom asks for what. Pure.

``/healthz`` says whether the reconciler lives: whoever asks may start it anew if it does not.
``/readyz`` says whether the tip of the branch runs and runs well, which no new start would change.
Answers quote words of ours only: what specs and programs say is for ``reconciler status``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.metrics import exposition

if TYPE_CHECKING:
    from reconciler.metrics import Tally
    from reconciler.status import Status

PLAIN: Final = "text/plain; charset=utf-8"
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
# The status is written every ten seconds, even if it says the same.
LATE_S: Final = 60.0
PATHS: Final = ("/metrics", "/healthz", "/readyz")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in full."""

    status: int
    text: str = ""
    kind: str = PLAIN


def reply(method: str, path: str, status: Status, tally: Tally, shown_at: float | None) -> Reply:
    """The answer; ``shown_at`` is when the status was written last, in the time of ``status.at``.

    It is None before the first time.
    """
    if path not in PATHS:
        return Reply(404, "not found\n")
    if method not in {"GET", "HEAD"}:
        return Reply(405, "method not allowed\n")
    if path == "/metrics":
        return Reply(200, exposition(status, tally), PROMETHEUS)
    if path == "/healthz":
        return _health(status, shown_at)
    return Reply(200, "ready\n") if status.ready else Reply(503, f"not ready: {_why(status)}\n")


def _health(status: Status, shown_at: float | None) -> Reply:
    last = status.started_at if shown_at is None else shown_at
    if status.at - last > LATE_S:
        return Reply(503, f"no status was written for {status.at - last:.0f} s\n")
    return Reply(200, "ok\n")


def _why(status: Status) -> str:
    return ", ".join(str(one.reason) for one in status.claims()[:1])
