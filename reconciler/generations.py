"""What was attempted and what came of it: the history, and what must survive a restart.

Both are values with a codec; where the bytes lie is the shell's business. The history is for
people and may lose a line, ``Progress`` is what the next start relies on and may not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge
from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LINES: Final = 200
LONGEST_LINE: Final = 500
# Why a commit was refused, if not for want of trust: see ``reconciler.sources.trust``.
SPECS: Final = "specs"
# Revisions that are remembered as bad.
MOST_BAD: Final = 20


class Outcome(StrEnum):
    """What came of a commit."""

    APPLIED = "applied"
    REFUSED = "refused"  # it describes no desired state: nothing was touched
    FAILED = "failed"  # some step failed; it is tried again
    PARTIAL = "partial"  # applied, but for items whose files are broken: they stay as they are
    ROLLED_BACK = "rolled back"  # it was applied in place of a later one, never a success of that


# Outcomes after which the machine matched the commit.
REACHED: Final = (Outcome.APPLIED, Outcome.ROLLED_BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One commit and what came of it; times in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    revision: str
    subject: str
    author: str
    attempted_at: float
    finished_at: float
    outcome: Outcome
    problems: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    # How often an attempt at it ended in something worth writing down.
    attempts: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        # Frozen, and yet kept within bounds however much went wrong.
        object.__setattr__(self, "subject", _bounded_line(self.subject))
        object.__setattr__(self, "author", _bounded_line(self.author))
        object.__setattr__(self, "problems", bounded(self.problems))
        object.__setattr__(self, "steps", bounded(self.steps))

    @property
    def duration_s(self) -> float:
        """From the attempt to its end; never negative, whatever the clock did."""
        return max(0.0, self.finished_at - self.attempted_at)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        said: dict[str, Any] = _GENERATION.dump_python(self, mode="json")
        return {**said, "duration_s": self.duration_s}


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspension:
    """An operator's word that nothing is to be applied; times in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    since: float
    reason: str = ""
    # None: until it is resumed.
    until: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", _bounded_line(self.reason))

    def has_ended(self, now: float) -> bool:
        """Whether its time is over."""
        return self.until is not None and now >= self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the reconciler came; revisions, None for none yet."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    # The machine matched it once.
    last_applied: str | None = None
    # It describes a desired state, and steps towards it may have been taken.
    last_accepted: str | None = None
    # The tip that was refused; forgotten when the branch moves on.
    refused: str | None = None
    # What was wrong with it: specs, history or signatures.
    refused_for: str = ""
    # The commit that an operator wants to be followed, though its history is not that of the last.
    consented: str | None = None
    # The commit whose removals an operator wants, however many.
    consented_removals: str | None = None
    # The newest commit that was accepted; what is followed next has to descend from it.
    newest: str | None = None
    suspended: Suspension | None = None
    # Rolled back to: it stays, wherever the branch goes, until an operator resumes.
    pinned: str | None = None
    # Revisions that were rolled back from, oldest first: as tips they are left alone.
    bad: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether the branch is not followed for now."""
        return self.suspended is not None or self.pinned is not None

    @property
    def last_attempted(self) -> str | None:
        """The last commit that was evaluated, whatever came of it."""
        return self.refused or self.last_accepted

    @property
    def goal(self) -> str | None:
        """What the machine is to be brought to after a restart."""
        goal = self.last_accepted or self.last_applied
        return None if goal == self.refused else goal

    @property
    def anchor(self) -> str | None:
        """The commit that whatever is followed next has to descend from; None for the first."""
        return self.newest or self.last_accepted or self.last_applied

    @property
    def is_distrusted(self) -> bool:
        """Whether the tip was refused for what it is, and not for what it says."""
        return self.refused is not None and self.refused_for != SPECS

    def accepting(self, revision: str) -> Progress:
        """That commit describes a desired state, and may be followed."""
        return replace(
            self.without_refusal(), last_accepted=revision, newest=revision, consented=None
        )

    def refusing(self, revision: str, why: str = SPECS) -> Progress:
        """That commit does not, or does no longer for a newer reconciler."""
        pinned = None if self.pinned == revision else self.pinned
        accepted = None if self.last_accepted == revision else self.last_accepted
        return replace(
            self, last_accepted=accepted, refused=revision, refused_for=why, pinned=pinned
        )

    def awaits_consent(self, revision: str) -> bool:
        """Whether that commit was refused in a way that an operator may overrule."""
        return self.is_distrusted and revision == self.refused

    def consenting(self, revision: str) -> Progress:
        """An operator takes the history of that refused commit as it is."""
        return replace(self.without_refusal(), consented=revision)

    def consenting_removals(self, revision: str) -> Progress:
        """An operator wants all removals of that commit."""
        return replace(self, consented_removals=revision)

    def applying(self, revision: str) -> Progress:
        """The machine matches that commit."""
        return replace(self, last_applied=revision)

    def without_refusal(self) -> Progress:
        """The branch moved on from what was refused, or it is to be looked at again."""
        return replace(self, refused=None, refused_for="")

    def suspending(self, suspension: Suspension) -> Progress:
        """Nothing is applied from now on."""
        return replace(self, suspended=suspension)

    def rolling_back(self, revision: str) -> Progress:
        """That revision takes the place of the present one, which is remembered as bad."""
        left = self.last_accepted or self.last_applied
        bad = [one for one in self.bad if one not in {left, revision}]
        bad += [left] if left is not None and left != revision else []
        bad = bad[-MOST_BAD:]
        return replace(
            self.without_refusal(), last_accepted=revision, pinned=revision, bad=tuple(bad)
        )

    def unsuspending(self) -> Progress:
        """The suspension is over; a rollback is not."""
        return replace(self, suspended=None)

    def is_rollback(self, revision: str, tip: str | None) -> bool:
        """Whether ``revision`` runs in place of a later one, by an operator's word."""
        return revision == self.pinned or (tip in self.bad and tip != revision)

    def resuming(self, *, forgives: bool = False) -> Progress:
        """The branch is followed again; ``forgives`` what was rolled back from."""
        return replace(self, suspended=None, pinned=None, bad=() if forgives else self.bad)


_GENERATION: Final = TypeAdapter(Generation)
_PROGRESS: Final = TypeAdapter(Progress)


def remember(
    history: tuple[Generation, ...], generation: Generation, most: int
) -> tuple[Generation, ...]:
    """The history with ``generation`` at its end, and no more than ``most`` in all.

    Another attempt at the revision that stands last takes its place, and goes on from it.
    """
    if history and history[-1].revision == generation.revision:
        history, last = history[:-1], history[-1]
        generation = replace(
            generation,
            attempted_at=last.attempted_at,
            steps=(*last.steps, *generation.steps),
            attempts=last.attempts + 1,
        )
    return (*history, generation)[-most:]


def named_revision(history: Iterable[Generation], named: str) -> str:
    """The revision in the history that begins with ``named``; raises ``UsageError``."""
    found = sorted({one.revision for one in history if named and one.revision.startswith(named)})
    if len(found) != 1:
        how = "more than one revision begins" if found else "nothing attempted here begins"
        raise UsageError(f"{how} with {named!r}", "choose: reconciler history")
    return found[0]


def rollback_target(
    history: Iterable[Generation], progress: Progress, named: str | None = None
) -> str:
    """What to roll back to: the revision ``named`` in full, or the last good one before this.

    Only what ran here once counts. Raises ``UsageError`` if there is no such revision.
    """
    present = progress.last_accepted or progress.last_applied
    reached = [one.revision for one in history if one.outcome in REACHED]
    if named is not None:
        if named == present:
            raise UsageError(f"{named[:10]} is what is wanted here already", "name another one")
        if named not in reached:
            raise UsageError(f"{named[:10]} was never applied here", "choose: reconciler history")
        return named
    # From the last time that the present one ran: what ran after it is no earlier one.
    if present in reached:
        reached = reached[: len(reached) - 1 - reached[::-1].index(present)]
    good = [one for one in reached if one != present and one not in progress.bad]
    if not good:
        raise UsageError("nothing was applied here before", "push a commit that mends it instead")
    return good[-1]


def not_awaited(progress: Progress) -> tuple[str, str]:
    """What is wrong with a consent that nobody waits for, and the next move."""
    if progress.is_distrusted:
        return "that commit does not wait for a consent", f"the one that does: {progress.refused}"
    return "no commit waits for a consent", "see reconciler status"


def encode_history(history: Iterable[Generation]) -> bytes:
    """One line of JSON for each generation, oldest first."""
    return b"".join(_GENERATION.dump_json(generation) + b"\n" for generation in history)


def decode_history(content: bytes, most: int) -> tuple[Generation, ...]:
    """Read what ``encode_history`` wrote, at most the last ``most``; torn lines are left out."""
    read: list[Generation] = []
    for line in content.splitlines()[-most:]:
        try:
            read.append(_GENERATION.validate_json(line))
        except ValidationError:
            continue
    return tuple(read)


def encode_progress(progress: Progress) -> bytes:
    """One JSON object."""
    return _PROGRESS.dump_json(progress, indent=2) + b"\n"


def decode_progress(content: bytes) -> Progress:
    """Read what ``encode_progress`` wrote; raises ``UsageError`` for anything else."""
    try:
        return _PROGRESS.validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the whole"
        raise UsageError(
            f"the reconciler's progress cannot be read ({where}: {wrong['msg']})",
            "move the file away to begin from the tip of the branch",
        ) from error


def bounded(lines: tuple[str, ...]) -> tuple[str, ...]:
    """No more lines than are kept, none longer than is kept; the last says what is left out."""
    kept = tuple(_bounded_line(line) for line in lines[:MOST_LINES])
    left_out = len(lines) - len(kept)
    return (*kept[:-1], f"... and {left_out + 1} more") if left_out else kept


def _bounded_line(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 3]}..."
