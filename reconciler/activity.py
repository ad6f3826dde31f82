"""What the reconciler is doing this moment and did last: for people who watch.

``reconciler.status`` says how things stand; this says what is going on. Both stand side by side
in ``status.json`` and in the answer on the control socket (``Snapshot``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import TypeAdapter, ValidationError

from maculaos.errors import UsageError
from reconciler.status import Status
from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Mapping

ACTIVITY_KEY: Final = "activity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened, or began, at a time in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The commit that is wanted, in words, and what happens about it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # First line and author of the tip's message.
    subject: str = ""
    author: str = ""
    # What people should know though nothing is wrong, such as a rewritten history.
    notice: str = ""
    under_way: tuple[Moment, ...] = ()
    events: tuple[Moment, ...] = ()
    # Requests to the webhook listener since the start, by what became of them.
    deliveries: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Status and activity at one moment."""

    status: Status
    activity: Activity = Activity()

    def as_json(self) -> dict[str, Any]:
        """The status with the activity as one more key."""
        activity = _ACTIVITY.dump_python(self.activity, mode="json")
        return {**self.status.as_json(), ACTIVITY_KEY: activity}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Snapshot:
        """Read what ``as_json`` gave; raises ``UsageError`` for anything else."""
        status = Status.from_json({key: said[key] for key in said if key != ACTIVITY_KEY})
        try:
            activity = _ACTIVITY.validate_json(_PLAIN.dump_json(said.get(ACTIVITY_KEY, {})))
        except ValidationError as error:
            raise UsageError(
                "the reconciler's activity cannot be read",
                "is it of the same version as this program?",
            ) from error
        return cls(status=status, activity=activity)


_ACTIVITY: Final = TypeAdapter(Activity)
_PLAIN: Final = TypeAdapter(Any)
