"""Events: what happened to the whole or to an item, bounded, counted, and kept over restarts.

After Kubernetes: the same thing happening again is the same event with a higher count and a later
``last_at``, so a step that fails a thousand times does not drive everything else out. Pure; the
codec tolerates a torn or foreign line, since events are for people and may lose one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from annotated_types import Ge
from pydantic import TypeAdapter, ValidationError

from reconciler.values import STRICT

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_EVENTS: Final = 500
LONGEST_TEXT: Final = 400
# Of a line that is read back: the longest event that is written fits several times.
LONGEST_EVENT_BYTES: Final = 16 * 1024
# The same thing after so long is news again.
FORGOTTEN_AFTER_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened ``count`` times; times in seconds since the epoch."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    # The word that the log has for it, such as ``cannot_start``.
    name: str
    # A sentence: that of the last time.
    text: str
    level: Literal["info", "warning", "error"] = "info"
    # Such as ``node/n1``; empty for what is about the whole.
    item: str = ""
    # What makes two events the same, beside name and item.
    cause: str = ""
    first_at: float
    last_at: float
    count: Annotated[int, Ge(1)] = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text[:LONGEST_TEXT])
        object.__setattr__(self, "cause", self.cause[:LONGEST_TEXT])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        said: dict[str, Any] = _EVENT.dump_python(self, mode="json")
        return said


class EventRing:
    """The last events, the one that happened last at the end; forgets the oldest."""

    def __init__(self, events: Iterable[Event] = (), most: int = MOST_EVENTS) -> None:
        self._most = most
        self._events: dict[tuple[str, str, str], Event] = {}
        # Grows with each event, so that whoever keeps them sees whether there is something new.
        self.version = 0
        self.recall(events)

    def recall(self, events: Iterable[Event]) -> None:
        """Remember those that were kept; they are no news."""
        for event in events:
            self._put(event)

    def note(self, event: Event) -> None:
        """One more event; the same thing again is counted."""
        known = self._events.get(_key(event))
        if known is not None and event.last_at - known.last_at <= FORGOTTEN_AFTER_S:
            event = replace(event, first_at=known.first_at, count=known.count + event.count)
        self._put(event)
        self.version += 1

    def _put(self, event: Event) -> None:
        self._events.pop(_key(event), None)
        self._events[_key(event)] = event
        while len(self._events) > self._most:
            del self._events[next(iter(self._events))]

    def all(self) -> tuple[Event, ...]:
        """Every event that is remembered."""
        return tuple(self._events.values())


def about(events: Iterable[Event], item: str) -> tuple[Event, ...]:
    """The events of that item."""
    return tuple(event for event in events if event.item == item)


def encode_events(events: Iterable[Event]) -> bytes:
    """One line of JSON for each."""
    return b"".join(_EVENT.dump_json(event) + b"\n" for event in events)


def decode_events(content: bytes, most: int = MOST_EVENTS) -> tuple[Event, ...]:
    """Read what ``encode_events`` wrote, at most the last ``most``; other lines are left out."""
    read: list[Event] = []
    for line in content.splitlines()[-most:]:
        if len(line) > LONGEST_EVENT_BYTES:
            continue
        try:
            read.append(_EVENT.validate_json(line))
        except ValidationError:
            continue
    return tuple(read)


def _key(event: Event) -> tuple[str, str, str]:
    return event.name, event.item, event.cause


_EVENT: Final = TypeAdapter(Event)
