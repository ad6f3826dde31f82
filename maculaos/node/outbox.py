"""The outbox: letters to members without a link, sent again until they are taken.

An envelope may be lost on its way: nobody between promises anything. So each letter has a number,
and is sent again, ever more seldom, until its reader says that it took it, or until nobody needs it
any more. Bounded in letters, in bytes, and by how far the numbers of one reader may lie apart.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.identity import NodeId

if TYPE_CHECKING:
    from collections.abc import Iterable


#: A letter is sent again after this, in seconds, then after twice as long, up to the longest.
FIRST_AGAIN_S: Final = 0.5
LONGEST_AGAIN_S: Final = 2.0
MAX_LETTERS: Final = 8192
MAX_BYTES: Final = 64 * 1024 * 1024
#: Letters to one reader that are not taken lie at most so far apart: see ``inbox.WINDOW``.
MAX_APART: Final = 1024
#: Words that end something have room where letters of more have none.
WORDS: Final = 128
MAX_WORD_BYTES: Final = 4096
_SLACK: Final = 64


@dataclass(slots=True, eq=False)
class Letter:
    """A frame for a member; times in monotonic seconds."""

    to: NodeId
    number: int
    frame: bytes
    written_at: float
    # Nobody needs it any more then.
    until: float
    due: float
    # The life of its reader that was known then; 0 if none was.
    reader_life: int
    tries: int = 0


class Outbox:
    """Letters by reader and number; numbers begin behind ``first``."""

    def __init__(self, first: int) -> None:
        self._first = first
        self._size = 0
        self._bytes = 0
        self._letters: dict[NodeId, dict[int, Letter]] = {}
        self._last: dict[NodeId, int] = {}
        self._due: list[tuple[float, int, Letter]] = []
        self._turn = 0

    def __len__(self) -> int:
        return self._size

    def write(
        self,
        to: NodeId,
        frame: bytes,
        now: float,
        until: float,
        reader_life: int = 0,
        *,
        is_word: bool = False,
    ) -> Letter | None:
        """A letter that is to be sent now; ``None`` if too many wait already.

        One ``is_word`` without which its reader would wait in vain, and has room of its own.
        """
        waiting = self._letters.setdefault(to, {})
        number = self._last.get(to, self._first) + 1
        more = WORDS if is_word and len(frame) <= MAX_WORD_BYTES else 0
        is_far = bool(waiting) and number - next(iter(waiting)) >= MAX_APART + more
        is_full = self._bytes + len(frame) > MAX_BYTES + more * MAX_WORD_BYTES
        if is_far or is_full or self._size >= MAX_LETTERS + more:
            return None
        self._last[to] = number
        letter = Letter(to, number, frame, now, until, now, reader_life)
        waiting[number] = letter
        self._size += 1
        self._bytes += len(frame)
        self._plan(letter, now)
        return letter

    def taken(self, by: NodeId, numbers: Iterable[int]) -> None:
        """Its reader took these, or need not have them any more."""
        waiting = self._letters.get(by, {})
        for number in numbers:
            letter = waiting.pop(number, None)
            if letter is not None:
                self._size -= 1
                self._bytes -= len(letter.frame)
        if len(self._due) > 2 * self._size + _SLACK:
            self._due = [each for each in self._due if self._waits(each[2])]
            heapq.heapify(self._due)

    def drop(self, reader: NodeId) -> None:
        """That member is gone."""
        self.taken(reader, tuple(self._letters.get(reader, ())))
        self._letters.pop(reader, None)
        # No number is used twice for one reader, though nothing is kept of this one.
        self._first = max(self._first, self._last.pop(reader, 0))

    def take_due(self, now: float) -> list[Letter]:
        """Those to be sent again by now; what nobody needs any more is forgotten."""
        due: list[Letter] = []
        while self.next_deadline() <= now:
            letter = heapq.heappop(self._due)[2]
            if letter.until <= now:
                self.taken(letter.to, (letter.number,))
                continue
            self._plan(letter, now)
            due.append(letter)
        return due

    def next_deadline(self) -> float:
        """When a letter is to be sent again; infinity if none waits."""
        while self._due and not self._waits(self._due[0][2]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def _waits(self, letter: Letter) -> bool:
        return self._letters.get(letter.to, {}).get(letter.number) is letter

    def _plan(self, letter: Letter, now: float) -> None:
        """When it is sent after this time."""
        wait_s = min(LONGEST_AGAIN_S, FIRST_AGAIN_S * 2 ** min(letter.tries, 10))
        letter.tries += 1
        letter.due = now + wait_s
        self._turn += 1
        heapq.heappush(self._due, (letter.due, self._turn, letter))
