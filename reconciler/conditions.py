"""Conditions: what holds of an item or of the whole, since when, and of which generation.

After Flux: *Ready* is always there, *Reconciling* and *Stalled* only while they hold. ``since``
changes when a condition's status does and at no other time, whatever its reason and message say
meanwhile. Who reads one whose generation is not the one that is wanted now knows that it is stale.

Pure. What is claimed at a moment is worked out in ``reconciler.status``; here it gets its past.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Word(StrEnum):
    """The kinds of conditions."""

    READY = "Ready"  # as wanted
    RECONCILING = "Reconciling"  # being worked on, or tried again
    STALLED = "Stalled"  # trying again cannot help: somebody has to act


class Truth(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"  # it cannot be said yet


class Reason(StrEnum):
    """Why: one word for programs. Words are added, and never change their meaning."""

    # Of the whole.
    CONVERGED = "Converged"  # the tip runs, and nothing is left to do
    REFUSED = "Refused"  # the tip describes no desired state
    UNTRUSTED = "Untrusted"  # the tip may not be followed: for its history, or its signatures
    GIT_UNREACHABLE = "GitUnreachable"
    MACHINE_UNREADABLE = "MachineUnreadable"
    NOT_READY = "NotReady"  # some item is not
    SUSPENDED = "Suspended"  # by an operator
    PORT_UNAVAILABLE = "PortUnavailable"  # connections to some app cannot be taken
    ROLLED_BACK = "RolledBack"  # an earlier revision runs than the branch wants
    # Of items.
    HEALTHY = "Healthy"
    BROKEN = "Broken"  # its file is wrong, so it stays as it is; of the whole: some item's is
    STEP_FAILED = "StepFailed"
    BACKING_OFF = "BackingOff"  # its program ends again and again
    RESTARTS_EXHAUSTED = "RestartsExhausted"  # it ended for good, as its restart policy says
    DEADLINE_EXCEEDED = "DeadlineExceeded"  # it runs, and did not become ready in time
    REVERTED = "Reverted"  # the version that is wanted was tried, and failed
    DRIFTED = "Drifted"  # not as wanted, and nothing may be done about it
    # Of both.
    BLOCKED = "Blocked"  # something is missing on this machine
    PROGRESSING = "Progressing"
    PROGRESSING_WITH_RETRY = "ProgressingWithRetry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition; ``since`` in seconds since the epoch, 0 for one without a past."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    word: Word
    status: Truth
    reason: Reason
    # A line for people, with what to do next where somebody has to do something.
    message: str = ""
    # What it speaks of: the revision, or the digest of an item's version.
    generation: str = ""
    since: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether it is true."""
        return self.status is Truth.TRUE


# What to do about it; reasons that pass by themselves have none.
NEXT_MOVES: Final[Mapping[Reason, str]] = {
    Reason.UNTRUSTED: "reconciler status says what would let it pass",
    Reason.REFUSED: "mend the files that the problems name, and push",
    Reason.GIT_UNREACHABLE: "check the network and the access to the repository: reconciler doctor",
    Reason.MACHINE_UNREADABLE: "check the machine: reconciler doctor",
    Reason.SUSPENDED: "go on with: reconciler resume",
    Reason.ROLLED_BACK: "push a commit that works, then: reconciler resume",
    Reason.PORT_UNAVAILABLE: "end what has the port, or give the app another one",
    Reason.BROKEN: "mend the file and push; until then it stays as it is",
    Reason.STEP_FAILED: "it is tried again by itself; mend what the failure names, or push a fix",
    Reason.BACKING_OFF: "read what the program wrote, and push a fix",
    Reason.RESTARTS_EXHAUSTED: "read what the program wrote, and push a fix",
    Reason.DEADLINE_EXCEEDED: "read what the program wrote: it runs, and does not become ready",
    Reason.REVERTED: "push a version that works, or try it again: reconciler retry",
    Reason.DRIFTED: "see what would be done: reconciler plan; then: reconciler resume",
    Reason.BLOCKED: "put onto this machine what the message names",
}


def with_next_move(reason: Reason, message: str) -> str:
    """``message`` and what to do about it, in one line."""
    return "; ".join(filter(None, (message, NEXT_MOVES.get(reason, ""))))


def advance(
    previous: Iterable[Condition], claimed: Iterable[Condition], now: float
) -> tuple[Condition, ...]:
    """``claimed`` with the time of each one's last transition.

    That is ``now`` if it was absent or had another status before; if the clock went back since,
    no transition lies in the future.
    """
    known = {condition.word: condition for condition in previous}
    return tuple(
        replace(claim, since=_since(known.get(claim.word), claim, now)) for claim in claimed
    )


def _since(known: Condition | None, claim: Condition, now: float) -> float:
    if known is None or known.status is not claim.status:
        return now
    return min(known.since, now)
