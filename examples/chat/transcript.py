"""The transcript of a room: messages in the one order that everybody sees, without doubles.

Merging commutes, and to merge twice is to merge once; so it does not matter who told what first.
What a member says that others said is hearsay: it gives way to what the author said itself.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chat.message import Message

MAX_MESSAGES: Final = 1000
# What one answer to a question for the past carries at most.
MAX_TOLD: Final = 200
# Of so many messages at the end all in a room are to have the same.
MAX_DIGESTED: Final = 50
MAX_TOLD_BYTES: Final = 256 * 1024


class Transcript:
    """At most ``limit`` messages, the latest ones."""

    def __init__(self, limit: int = MAX_MESSAGES) -> None:
        self._limit = limit
        self._known: dict[tuple[str, int], Message] = {}
        self._hearsay: set[tuple[str, int]] = set()
        self._sorted: list[Message] = []
        self._digest: int | None = None

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def messages(self) -> tuple[Message, ...]:
        """All of them, the earliest first."""
        return tuple(self._sorted)

    @property
    def latest_ms(self) -> int:
        """When the last message was said; 0 if there is none."""
        return self._sorted[-1].at_ms if self._sorted else 0

    @property
    def digest(self) -> int:
        """A number that two transcripts share if they end alike; 0 for an empty one.

        It covers the last ``MAX_DIGESTED`` messages; more of the past need not be known to all.
        """
        if self._digest is None:
            last = self._sorted[-MAX_DIGESTED:]
            text = " ".join(f"{each.seat}.{each.number}" for each in last)
            self._digest = max(1, crc32(text.encode())) if last else 0
        return self._digest

    def is_hearsay(self, message: Message) -> bool:
        """Whether somebody else than its author told of it."""
        return message.identity in self._hearsay

    def add(self, message: Message, *, is_hearsay: bool = False) -> bool:
        """Take in ``message``; whether that changed anything."""
        held = self._known.get(message.identity)
        if held is not None:
            if not self._is_better(message, held, is_hearsay=is_hearsay):
                return False
            self._drop(held)
        elif len(self._sorted) >= self._limit:
            if message.place <= self._sorted[0].place:
                return False
            self._drop(self._sorted[0])
        self._digest = None
        self._known[message.identity] = message
        if is_hearsay:
            self._hearsay.add(message.identity)
        insort(self._sorted, message, key=lambda each: each.place)
        return True

    def merge(self, told: Iterable[Message]) -> int:
        """Take in what a member says was said; how many of it were news."""
        return sum(self.add(message, is_hearsay=True) for message in told)

    def last(self, count: int = MAX_TOLD, size: int = MAX_TOLD_BYTES) -> list[Message]:
        """The latest messages, the earliest first: at most ``count``, with ``size`` bytes."""
        told: list[Message] = []
        for message in reversed(self._sorted[-count:] if count > 0 else []):
            size -= len(message.text.encode()) + _AROUND
            if size < 0:
                break
            told.append(message)
        return told[::-1]

    def _is_better(self, message: Message, held: Message, *, is_hearsay: bool) -> bool:
        """Word of mouth yields to the author; among equals, any order that all share will do."""
        was_hearsay = held.identity in self._hearsay
        if is_hearsay != was_hearsay:
            return was_hearsay
        # Of what the author itself said, the first holds: nobody can unsay.
        return is_hearsay and _content(message) > _content(held)

    def _drop(self, message: Message) -> None:
        del self._known[message.identity]
        self._hearsay.discard(message.identity)
        self._sorted.remove(message)


# What a message takes besides its text, in bytes.
_AROUND: Final = 128


def _content(message: Message) -> tuple[int, str, str, bool]:
    return message.at_ms, message.nick, message.text, message.is_action
