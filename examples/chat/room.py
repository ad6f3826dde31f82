"""A conversation as one person sees it: what was said, what happened, and what is still unread.

A room is open to all who enter; a conversation with one person is a room with two seats. Nothing is
sent from here.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

from chat.transcript import MAX_MESSAGES, Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chat.message import Message

MAX_NOTICES: Final = 100


class Fate(StrEnum):
    """What became of an own message."""

    ON_ITS_WAY = "on its way"
    TAKEN = "taken"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mark:
    """The fate of one own message, and what to say of it."""

    fate: Fate
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened, told here alone."""

    at_ms: int
    text: str


Line: TypeAlias = "Message | Notice"


@dataclass(slots=True)
class Room:
    """``name`` is the name of a room, or the seat of the one person it is with."""

    name: str
    is_private: bool = False
    unread: int = 0
    transcript: Transcript = field(default_factory=Transcript)
    notices: deque[Notice] = field(default_factory=lambda: deque(maxlen=MAX_NOTICES))
    # Who is writing, by seat, and until when that counts without another word of it.
    writing: dict[str, float] = field(default_factory=dict)
    _marks: dict[int, Mark] = field(default_factory=dict)
    _shown_since_ms: int = 0

    def mark(self, number: int, mark: Mark) -> None:
        """Note what became of the own message ``number``."""
        self._marks.pop(number, None)
        self._marks[number] = mark
        if len(self._marks) > MAX_MESSAGES:
            del self._marks[next(iter(self._marks))]

    def mark_of(self, number: int) -> Mark | None:
        """What became of the own message ``number``; None if it was said in another life."""
        return self._marks.get(number)

    @property
    def latest_ms(self) -> int:
        """When the last thing was said or happened here; 0 if there is none."""
        noticed = self.notices[-1].at_ms if self.notices else 0
        return max(self.transcript.latest_ms, noticed)

    def notice(self, text: str, now_ms: int) -> None:
        """Tell of something; it stands below what is there, whatever the clocks of others say."""
        self.notices.append(Notice(max(now_ms, self.latest_ms), text))

    def clear(self) -> None:
        """Show only what comes from now on."""
        self._shown_since_ms = self.latest_ms + 1

    def lines(self) -> Iterator[Line]:
        """What is to be shown, the earliest first."""
        both: Iterator[Line] = heapq.merge(self.transcript.messages, self.notices, key=_time_of)
        return (line for line in both if line.at_ms >= self._shown_since_ms)


def _time_of(line: Line) -> int:
    return line.at_ms
