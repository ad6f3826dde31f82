"""What a decision about a rollout is made from, and what it says. Words only."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from reconciler.rollouts.deployment import Deployment
from reconciler.rollouts.instances import Instance
from reconciler.rollouts.spec import Strategy


class Word(StrEnum):
    """What an operator may say; each is said once, and may be said again."""

    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True)
class Order:
    """A word of an operator, about the version ``digest`` if one is named."""

    word: Word
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What Git wants of one app: a version, how many of it, and how to get there."""

    goal: str
    instances: int = 1
    strategy: Strategy = field(default_factory=Strategy)
    # How the stable version wants to be gone back to; None: as the new one is rolled out.
    fallback: Strategy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFacts:
    """What was found of one instance."""

    # The version that it runs, as it was assigned.
    digest: str
    is_running: bool = False
    # It ended for good, by its restart policy.
    has_failed: bool = False
    # What its probes say; None without probes: it is healthy while it runs.
    is_healthy: bool | None = None
    # Something knows that nobody uses it any more.
    is_drained: bool = False
    # Something is still to say so, and has so long, on top of the time for a drain.
    drain_grace_s: float = 0.0
    # Anything that changes when its program is started again.
    run: str = ""
    # Why it is not healthy, for people.
    reason: str = ""

    @property
    def is_well(self) -> bool:
        """It runs, and its probes are content."""
        return self.is_running and self.is_healthy is not False


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one instance should run now, and whether it gets traffic."""

    instance: Instance
    digest: str
    takes_traffic: bool
    is_draining: bool = False


Assignments: TypeAlias = tuple[Assignment, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is to be, and what to remember of it before anything is done."""

    deployment: Deployment
    # By instance, in order; an instance that is not listed is to be removed.
    assignments: Assignments
    # When to look again at the latest, by the clock that was given; None: when something changes.
    next_at: float | None
    # What happened, a line each, for the log and the events of the status.
    events: tuple[str, ...]
