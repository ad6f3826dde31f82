"""A message: who said what, when, and in which order all see it.

A message is told apart from any other by its author's seat and a number. It is ordered by a
hybrid logical clock (S. Kulkarni et al., "Logical Physical Clocks", 2014): time by the author's
clock, but always after what the author had seen, so that an answer never stands above its
question. It does not travel by itself: see ``chat.session``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from chat.names import MAX_TEXT, Nick, Seat, clean
from maculaos.errors import MaculaError

if TYPE_CHECKING:
    from maculaos.client import Value

T = TypeVar("T")
# A clock that is so far ahead is not believed: what it stamps would stand below everything. A clock
# that is believed pulls ours forward, by as much; or an answer could stand above its question.
MAX_AHEAD_MS: Final = 300_000
_INT53: Final = 2**53 - 1
_Natural = Annotated[int, Meta(ge=0, le=_INT53)]


class Unreadable(MaculaError):
    """What somebody sent is not what this program understands."""


class Message(Struct, frozen=True):
    """Something said; the fields are as they travel."""

    # Milliseconds since the epoch, by a hybrid clock.
    at_ms: _Natural
    seat: Seat
    # The first message of a seat has 1.
    number: _Natural
    nick: Nick
    text: Annotated[str, Meta(max_length=MAX_TEXT)]
    # "/me waves": shown as a deed.
    is_action: bool = False

    @property
    def identity(self) -> tuple[str, int]:
        """What tells it apart from every other message."""
        return self.seat, self.number

    @property
    def place(self) -> tuple[int, str, int]:
        """Where it stands among the others; total, and the same for everybody."""
        return self.at_ms, self.seat, self.number


def to_value(message: Message) -> Value:
    """``message`` as it travels."""
    value: Value = msgspec.to_builtins(message)
    return value


def from_value(value: Value) -> Message:
    """The message that somebody sent, its text made fit to be shown; raises ``Unreadable``."""
    return _cleaned(_converted(value, Message))


def many_from_value(value: Value, limit: int) -> list[Message]:
    """At most ``limit`` messages of an answer, the last ones; raises ``Unreadable``."""
    return [_cleaned(each) for each in _converted(value, list[Message])[-limit:]]


def stamp(now_ms: int, latest_ms: int) -> int:
    """When a new message was said: now, but after the latest that was seen."""
    return max(now_ms, min(latest_ms + 1, now_ms + MAX_AHEAD_MS))


def _cleaned(message: Message) -> Message:
    return msgspec.structs.replace(message, text=clean(message.text))


def _converted(value: Value, kind: type[T]) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise Unreadable(f"not understood: {error}") from error
