"""The verbs by which operators hold the work: ``suspend``, ``resume`` and ``rollback``.

A running reconciler is asked; where none runs, what is to hold at its next start is written.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from reconciler.assembly import load_settings, store_of
from reconciler.cli.speech import (
    DONE,
    EXIT_CODES,
    NOT_AS_WANTED,
    Config,
    data,
    people,
    say,
)
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.generations import (
    Outcome,
    Progress,
    Suspension,
    named_revision,
    rollback_target,
)
from reconciler.status import moment, short_revision

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.settings import ReconcilerSettings

ROLLBACK_TIMEOUT_S: Final = 120.0
LATER: Final = "no reconciler runs here; it holds at its next start"

_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Until = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Resume by itself: 30m, 2h, 1d, or 2030-01-31T18:00."),
]
Target = Annotated[
    str | None, typer.Argument(metavar="[REVISION]", help="Applied here once; default: the last.")
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (suspend, resume, rollback):
        app.command(epilog=EXIT_CODES)(verb)


def suspend(
    config: Config = None,
    reason: Annotated[str, typer.Option(help="Why: shown to everybody who looks.")] = "",
    until: Until = None,
) -> None:
    """Apply nothing until resumed; Git is asked and the machine looked at as ever."""
    settings, now = load_settings(config), SystemClock().now()
    ends_at = None if until is None else until_of(until, now)
    request = {"do": "suspend", "reason": reason, "until": ends_at}
    suspension = Suspension(since=now, reason=reason, until=ends_at)
    _order(settings, request, lambda progress: progress.suspending(suspension))
    data.print("suspended" + (f" until {moment(ends_at)}" if ends_at else ""), markup=False)


def resume(
    config: Config = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Also take again what was rolled back from.")
    ] = False,
) -> None:
    """End a suspension and a rollback: follow the branch again."""
    request = {"do": "resume", "forgives": retry}
    answer = _order(
        load_settings(config), request, lambda progress: progress.resuming(forgives=retry)
    )
    data.print("resumed" if answer.get("resumed", True) else "nothing was held", markup=False)
    if answer.get("left_alone"):
        say(["the tip was rolled back from and is left alone; push a commit, or resume --retry"])


def rollback(config: Config = None, revision: Target = None) -> None:
    """Go back to the revision that was applied before, and stay there until resumed."""
    settings = load_settings(config)
    with people.status("rolling back"):
        answer = asyncio.run(_roll_back(settings, revision))
    data.print(f"{answer['outcome']} {short_revision(answer['revision'])}", markup=False)
    say(answer["problems"])
    is_done = answer["outcome"] == Outcome.ROLLED_BACK
    raise typer.Exit(DONE if is_done else NOT_AS_WANTED)


def until_of(text: str, now: float) -> float:
    """Seconds since the epoch for a span from ``now`` (``2h``) or a time; raises ``UsageError``."""
    span = _SPAN.fullmatch(text)
    if span is not None:
        return now + int(span[1]) * _UNITS_S[span[2]]
    try:
        at = datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        at = 0.0
    if at <= now:
        raise UsageError(f"{text!r} is no time to come", "say 30m, 2h, 1d or 2030-01-31T18:00")
    return at


def _order(
    settings: ReconcilerSettings, request: dict[str, Any], change: Callable[[Progress], Progress]
) -> dict[str, Any]:
    """Ask the running reconciler; where none runs, change what the next one starts from."""
    try:
        return asyncio.run(ask(settings.run_dir / SOCKET_NAME, request))
    except NoReconciler:
        store = store_of(settings)
        with store.locked():
            store.save_progress(change(store.progress()))
        say([LATER])
        return {}


async def _roll_back(settings: ReconcilerSettings, named: str | None) -> dict[str, Any]:
    socket = settings.run_dir / SOCKET_NAME
    try:
        ordered = await ask(socket, {"do": "rollback", "revision": named})
    except NoReconciler:
        store = store_of(settings)
        with store.locked():
            history, progress = store.history(), store.progress()
            wanted = None if named is None else named_revision(history, named)
            target = rollback_target(history, progress, wanted)
            store.save_progress(progress.rolling_back(target))
        return {"outcome": Outcome.ROLLED_BACK, "revision": target, "problems": [LATER]}
    people.print(f"going back to {short_revision(ordered['revision'])}", markup=False)
    request = {"do": "sync", "timeout_s": ROLLBACK_TIMEOUT_S}
    return await ask(socket, request, ROLLBACK_TIMEOUT_S)
