"""A deployment: how far one app is on its way between versions. A value with a codec.

It is all that a decision needs to remember, and is stored before anything is done about it, so a
reconciler that is killed goes on where it was. Its times are seconds that were counted while
somebody looked (``reconciler.rollouts.decide``), and mean nothing to any clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, Len
from pydantic import Field, TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.rollouts.instances import Colour, Instance
from reconciler.rollouts.spec import MOST_INSTANCES
from reconciler.values import STRICT

MOST_REJECTED: Final = 20
LONGEST_REASON: Final = 300
_SHOWN_DIGITS: Final = 12

Digest: TypeAlias = Annotated[str, Len(1, 128)]
Reason: TypeAlias = Annotated[str, Len(0, LONGEST_REASON)]
_Seconds: TypeAlias = Annotated[float, Field(allow_inf_nan=False), Ge(0)]
_Run: TypeAlias = Annotated[str, Len(0, 200)]


class Mode(StrEnum):
    """How one rollout goes about it."""

    IN_PLACE = "in-place"  # the instances that serve are replaced
    BESIDE = "beside"  # as many in the other colour, then traffic is switched
    CANARY = "canary"  # a few beside, then in place


class Phase(StrEnum):
    """How a deployment stands, in one word."""

    STABLE = "stable"
    DRAINING = "draining"  # stable, and the last old instances are on their way out
    PROGRESSING = "progressing"
    WAITING = "waiting"  # for somebody to promote
    PAUSED = "paused"
    REVERTING = "reverting"
    REVERTED = "reverted"  # what is wanted was tried and failed; the stable version runs
    FAILED = "failed"  # and nothing more can be done without a new version, or a retry


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """What one instance is to run, and how it does."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    colour: Colour
    index: Annotated[int, Ge(1), Le(MOST_INSTANCES)]
    digest: Digest
    # When it was given that version, or the rollout began that counts on it.
    since: _Seconds = 0.0
    healthy_since: _Seconds | None = None
    # It was healthy for min_healthy_time_s.
    is_proved: bool = False
    # It gets no new traffic since then, and will be replaced or removed.
    draining_since: _Seconds | None = None
    # Which start of the program was seen last: a new one was not healthy before.
    run: _Run = ""

    @property
    def instance(self) -> Instance:
        """Which instance it is."""
        return Instance(self.colour, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One way to one version; it ends when every instance has proved it, or it fails."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    target: Digest
    mode: Mode
    # When one more instance proved the target, or when it began.
    progress_at: _Seconds
    is_promoted: bool = False
    is_waiting: bool = False
    # Why it failed and nothing is left to try.
    failure: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A version that was tried and given up; it is not tried again by itself."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    digest: Digest
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One app between its versions."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1] = 1
    # The last version that every instance proved.
    stable: Digest | None = None
    # The colour that has the traffic.
    live: Literal[Colour.BLUE, Colour.GREEN] = Colour.BLUE
    placed: Annotated[tuple[Placed, ...], Len(0, 3 * MOST_INSTANCES)] = ()
    # The latest comes last.
    rejected: Annotated[tuple[Rejection, ...], Len(0, MOST_REJECTED)] = ()
    rollout: Rollout | None = None
    is_paused: bool = False
    # Seconds counted so far, and the clock at the last look; None while nothing is counted.
    age_s: _Seconds = 0.0
    looked_at: Annotated[float, Field(allow_inf_nan=False)] | None = None

    def rejection(self, digest: str) -> Rejection | None:
        """Why that version was given up; None if it was not."""
        return next((each for each in self.rejected if each.digest == digest), None)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a deployment stands, for a status: a word, and a sentence that may be empty."""

    phase: Phase
    message: str


def standing(deployment: Deployment, goal: str) -> Standing:
    """How ``deployment`` stands towards the version ``goal``."""
    rollout = deployment.rollout
    if rollout is None:
        return _standing_at_rest(deployment, goal)
    if rollout.failure:
        return Standing(Phase.FAILED, rollout.failure)
    towards = f"towards {short(rollout.target)}"
    if deployment.is_paused:
        return Standing(Phase.PAUSED, f"paused {towards}")
    if rollout.is_waiting:
        return Standing(Phase.WAITING, f"{short(rollout.target)} is healthy: promote or abort it")
    rejection = deployment.rejection(goal)
    if rejection is not None and rollout.target == deployment.stable:
        return Standing(Phase.REVERTING, f"back to {short(rollout.target)}: {rejection.reason}")
    return Standing(Phase.PROGRESSING, towards)


def _standing_at_rest(deployment: Deployment, goal: str) -> Standing:
    rejection = deployment.rejection(goal)
    if rejection is not None and deployment.stable is not None:
        kept = f"{short(deployment.stable)} runs instead of {short(goal)}: {rejection.reason}"
        return Standing(Phase.REVERTED, kept)
    if any(each.draining_since is not None for each in deployment.placed):
        return Standing(Phase.DRAINING, "old instances are on their way out")
    return Standing(Phase.STABLE, "")


def short(digest: str) -> str:
    """A digest as people compare it."""
    return digest[:_SHOWN_DIGITS]


def encode_deployment(deployment: Deployment) -> bytes:
    """One JSON object."""
    return _DEPLOYMENT.dump_json(deployment) + b"\n"


def decode_deployment(content: bytes) -> Deployment:
    """Read what ``encode_deployment`` wrote; raises ``UsageError`` for anything else."""
    try:
        return _DEPLOYMENT.validate_json(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"])) or "the whole"
        raise UsageError(
            f"the state of a rollout cannot be read ({where}: {wrong['msg']})",
            "move the file away; what runs is then taken as it is, and must prove itself again",
        ) from error


_DEPLOYMENT: Final = TypeAdapter(Deployment)
