"""The ledger of one target: what it was told, and when what is left may be told. Pure, with codec.

Times are seconds since the epoch, and only ever delay a notice by the longest wait. A target that
cannot be reached, or takes nothing from us, is left alone as a whole; one that takes a certain
notice ill (an unknown commit) is told the others. A commit whose state flaps is spoken of ever more
seldom.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import TypeAdapter, ValidationError

from reconciler.convergence import Backoff
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.notices.notice import Notice

# After that many failures of one notice nobody tries it again.
MOST_TRIES: Final = 5
LONGEST_QUIET_S: Final = 600.0
# Words about one commit that come without delay.
QUICK_WORDS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said of one commit last: the notice's mark, how often in all, and when."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    mark: str
    times: int
    at: float

    @property
    def quiet_until(self) -> float:
        """No other word about this commit before that."""
        doublings = min(max(self.times - QUICK_WORDS, 0), 20)
        quiet_s = min(LONGEST_QUIET_S, float(2**doublings)) if doublings else 0.0
        return self.at + quiet_s


@dataclass(slots=True)
class _Ill:
    """A notice that the target does not take."""

    mark: str
    tries: int
    retry_at: float


class NotTold(Exception):
    """A notice that was not taken; ``is_about_it``: others may be. ``wait_s`` at the least."""

    def __init__(self, reason: str, *, is_about_it: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.is_about_it = is_about_it
        self.wait_s = wait_s


@dataclass(slots=True)
class Ledger:
    """What one target was told; bounded by what there is to tell."""

    backoff: Backoff
    random: Random
    told: dict[str, Told] = field(default_factory=dict)
    # Why the last notice was not taken; empty if it was.
    reason: str = ""
    failures: int = 0
    retry_at: float = 0.0
    _ill: dict[str, _Ill] = field(default_factory=dict)

    def due(self, wanted: Sequence[Notice], now: float) -> Notice | None:
        """What to tell now: the first that is left to tell, and not to be waited for."""
        left = (notice for notice in wanted if self._is_left(notice))
        return next((notice for notice in left if self._due_at(notice, now) <= now), None)

    def waiting(self, wanted: Sequence[Notice]) -> int:
        """How many notices are left to tell."""
        return sum(self._is_left(notice) for notice in wanted)

    def succeeded(self, notice: Notice, wanted: Sequence[Notice], now: float) -> None:
        """It was told; what is not spoken of any more is forgotten."""
        before = self.told.get(notice.revision)
        times = 1 if before is None else before.times + 1
        self.told[notice.revision] = Told(mark=notice.mark, times=times, at=now)
        self._ill.pop(notice.revision, None)
        self.reason, self.failures, self.retry_at = "", 0, 0.0
        spoken_of = {one.revision for one in wanted} | {notice.revision}
        self.told = {key: one for key, one in self.told.items() if key in spoken_of}
        self._ill = {key: one for key, one in self._ill.items() if key in spoken_of}

    def failed(self, notice: Notice, error: NotTold, now: float) -> None:
        """It was not told: it, or the target, is left alone for a while."""
        self.reason = str(error)
        if error.is_about_it:
            ill = self._ill.get(notice.revision)
            tries = ill.tries + 1 if ill is not None and ill.mark == notice.mark else 1
            retry_at = now + self._wait_s(tries, error)
            self._ill[notice.revision] = _Ill(notice.mark, tries, retry_at)
            return
        self.failures += 1
        self.retry_at = now + self._wait_s(self.failures, error)

    def _wait_s(self, failures: int, error: NotTold) -> float:
        drawn_s = self.backoff.draw_s(failures, self.random)
        return min(max(drawn_s, error.wait_s), self.backoff.max_s)

    def _is_left(self, notice: Notice) -> bool:
        known, ill = self.told.get(notice.revision), self._ill.get(notice.revision)
        is_given_up = ill is not None and ill.mark == notice.mark and ill.tries >= MOST_TRIES
        return not is_given_up and (known is None or known.mark != notice.mark)

    def _due_at(self, notice: Notice, now: float) -> float:
        known, ill = self.told.get(notice.revision), self._ill.get(notice.revision)
        times = [self.retry_at]
        if known is not None:
            times.append(known.quiet_until)
        if ill is not None and ill.mark == notice.mark:
            times.append(ill.retry_at)
        # A clock that was set back delays nothing for longer than the longest wait.
        return min(max(times), now + max(self.backoff.max_s, LONGEST_QUIET_S))


_TOLD: Final = TypeAdapter(dict[str, dict[str, Told]])


def encode_told(told: Mapping[str, Mapping[str, Told]]) -> bytes:
    """One JSON object: by target and revision what was said last."""
    plain = {target: dict(one) for target, one in told.items()}
    return json.dumps(_TOLD.dump_python(plain, mode="json"), indent=1).encode() + b"\n"


def decode_told(content: bytes) -> dict[str, dict[str, Told]]:
    """Read what ``encode_told`` wrote; anything else is nothing, and all is told once more."""
    try:
        return _TOLD.validate_json(content)
    except ValidationError:
        return {}
