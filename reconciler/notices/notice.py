"""A notice: what is to be said of one commit now. Worked out anew from the history each time. Pure.

Nothing is queued: what is to be said follows from the history and the status, what was said is in
``reconciler.notices.ledger``, and the difference is what is left to say. So a restart loses
nothing, and of a commit that came and went only the last word counts. What a line quotes is
redacted: whoever may read the repository reads it, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from reconciler.generations import Outcome
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from reconciler.generations import Generation
    from reconciler.status import Status

# Commits of the past that are still spoken of; older ones keep what was said last.
MOST_NOTICES: Final = 12
LONGEST_TEXT: Final = 250

_REDACTED: Final = "***"
_SECRETS: Final = (
    (re.compile(r"(?<=://)[^/@\s]+@"), f"{_REDACTED}@"),
    (re.compile(r"AGE-SECRET-KEY-[0-9A-Z-]+", re.IGNORECASE), _REDACTED),
    (re.compile(r"\b(gh[pousr]_|github_pat_|glpat-|whsec_)[A-Za-z0-9_+/=-]{8,}"), _REDACTED),
    (re.compile(r"(?i)\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{16,}"), _REDACTED),
)


class State(StrEnum):
    """How a commit does here, in the three words that every Git host knows."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"


_STATES: Final = {
    Outcome.APPLIED: State.SUCCESS,
    Outcome.ROLLED_BACK: State.SUCCESS,
    Outcome.PARTIAL: State.FAILURE,
    Outcome.REFUSED: State.FAILURE,
    Outcome.FAILED: State.FAILURE,
}
_WORDS: Final = {
    Outcome.APPLIED: "applied",
    Outcome.ROLLED_BACK: "an operator rolled back to it",
    Outcome.PARTIAL: "applied in part",
    Outcome.REFUSED: "refused",
    Outcome.FAILED: "failed, and tried again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be said of one commit; times in seconds since the epoch, None for not yet."""

    revision: str
    state: State
    # One line for people, redacted.
    text: str
    # A word of ``Outcome``; empty while it is pending.
    result: str = ""
    # The revision that the machine matched last.
    applied: str | None = None
    attempted_at: float | None = None
    finished_at: float | None = None
    attempts: int = 0
    steps: int = 0
    problems: int = 0

    @property
    def duration_s(self) -> float | None:
        """From the first attempt to the end of the last."""
        if self.attempted_at is None or self.finished_at is None:
            return None
        return max(0.0, self.finished_at - self.attempted_at)

    @property
    def mark(self) -> str:
        """By what it is told from what was said before: the same mark is not said twice."""
        return f"{self.state} {self.result} {self.finished_at or ''}".strip()

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "version": 1,
            "attempted": self.revision,
            "applied": self.applied,
            "state": str(self.state),
            "result": self.result or "pending",
            "reason": self.text,
            "attempted_at": self.attempted_at,
            "finished_at": self.finished_at,
            "duration_s": self.duration_s,
            "attempts": self.attempts,
            "steps": self.steps,
            "problems": self.problems,
        }


def notices(history: Sequence[Generation], status: Status) -> tuple[Notice, ...]:
    """What is to be said now, the commit that matters most first; at most ``MOST_NOTICES``."""
    found = {
        generation.revision: _past(generation, status)
        for generation in history[-MOST_NOTICES:]
        if not _is_rolled_back(generation.revision, status)
    }
    for revision in status.bad:
        if any(generation.revision == revision for generation in history[-MOST_NOTICES:]):
            found[revision] = _left(revision, history, status)
    wanted = _under_way(history, status)
    if wanted is not None:
        found.pop(wanted.revision, None)
        found[wanted.revision] = wanted
    return tuple(reversed(found.values()))[:MOST_NOTICES]


def _is_rolled_back(revision: str, status: Status) -> bool:
    return revision in status.bad


def _past(generation: Generation, status: Status) -> Notice:
    word, problems = _WORDS[generation.outcome], generation.problems
    if generation.outcome in {Outcome.APPLIED, Outcome.ROLLED_BACK}:
        said = f"{word} in {generation.duration_s:.1f} s"
    else:
        said = f"{word}: {_first(problems)}" if problems else word
    return Notice(
        revision=generation.revision,
        state=_STATES[generation.outcome],
        text=redacted_text(said),
        result=str(generation.outcome),
        applied=status.revisions.applied,
        attempted_at=generation.attempted_at,
        finished_at=generation.finished_at,
        attempts=generation.attempts,
        steps=len(generation.steps),
        problems=len(problems),
    )


def _left(revision: str, history: Iterable[Generation], status: Status) -> Notice:
    last = [generation for generation in history if generation.revision == revision][-1]
    return Notice(
        revision=revision,
        state=State.FAILURE,
        text="an operator rolled back from it",
        result="rolled back from",
        applied=status.revisions.applied,
        attempted_at=last.attempted_at,
        finished_at=last.finished_at,
        attempts=last.attempts,
    )


def _under_way(history: Sequence[Generation], status: Status) -> Notice | None:
    """The commit that is wanted, as long as nothing came of it yet."""
    revisions = status.revisions
    wanted = revisions.attempted if revisions.refused is None else None
    is_next = revisions.tip not in {None, revisions.attempted, *status.bad}
    if is_next and status.pinned is None and revisions.tip != revisions.refused:
        wanted = revisions.tip
    if wanted is None or wanted in status.bad:
        return None
    done = [one for one in history if one.outcome is not Outcome.REFUSED]
    if done and done[-1].revision == wanted:
        return None
    if wanted == revisions.applied and status.converged and not done:
        return None  # the history was lost: nothing is known of how it came about
    said = "an operator suspended the work" if status.suspended else "being applied"
    return Notice(revision=wanted, state=State.PENDING, text=said, applied=revisions.applied)


def _first(problems: Sequence[str]) -> str:
    more = len(problems) - 1
    return problems[0] + (f" (and {more} more)" if more else "")


def redacted_text(text: str, secrets: Collection[str] = (), longest: int = LONGEST_TEXT) -> str:
    """``text`` as one printable line, without ``secrets`` and what else looks like one."""
    for secret in secrets:
        text = text.replace(secret, _REDACTED) if secret else text
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return one_line(text, longest)
