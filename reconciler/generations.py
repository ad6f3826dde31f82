"""What was attempted and what came of it: the history, and what must survive a restart.

Both are values with a codec; where the bytes lie is the shell's business. The history is for
people and may lose a line, ``Progress`` is what the next start relies on and may not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LINES: Final = 200
LONGEST_LINE: Final = 500


class Outcome(StrEnum):
    """What came of a commit."""

    APPLIED = "applied"
    REFUSED = "refused"  # it describes no desired state: nothing was touched
    FAILED = "failed"  # some step failed; it is tried again


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

    @property
    def last_attempted(self) -> str | None:
        """The last commit that was evaluated, whatever came of it."""
        return self.refused or self.last_accepted

    @property
    def goal(self) -> str | None:
        """What the machine is to be brought to after a restart."""
        goal = self.last_accepted or self.last_applied
        return None if goal == self.refused else goal

    def accepting(self, revision: str) -> Progress:
        """That commit describes a desired state."""
        return replace(self, last_accepted=revision, refused=None)

    def refusing(self, revision: str) -> Progress:
        """That commit does not, or does no longer for a newer reconciler."""
        accepted = None if self.last_accepted == revision else self.last_accepted
        return replace(self, last_accepted=accepted, refused=revision)

    def applying(self, revision: str) -> Progress:
        """The machine matches that commit."""
        return replace(self, last_applied=revision)

    def without_refusal(self) -> Progress:
        """The branch moved on from what was refused."""
        return replace(self, refused=None)


_GENERATION: Final = TypeAdapter(Generation)
_PROGRESS: Final = TypeAdapter(Progress)


def remember(
    history: tuple[Generation, ...], generation: Generation, most: int
) -> tuple[Generation, ...]:
    """The history with ``generation`` at its end, and no more than ``most`` in all.

    Another attempt at the revision that stands last takes its place.
    """
    if history and history[-1].revision == generation.revision:
        history = history[:-1]
    return (*history, generation)[-most:]


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
