"""Streams of results: how many may still be sent, and their order where they may overtake.

Over a link results come in the order in which they were sent, and have no index. Over paths they
may overtake each other, and are numbered from 1; who waits puts them in order again.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from maculaos.errors import MaculaError

# More than this is never granted at once: what was granted may have to be held.
MAX_CREDIT: Final = 10_000
# So many bytes of results that overtook others are held for one stream.
HELD_BYTES: Final = 32 * 1024 * 1024


class StreamBroken(MaculaError):
    """More results than were granted, or such as cannot be put in order."""


class Stream(Struct, eq=False):
    """The state of one stream at one node between provider and caller."""

    # So many results more may come from the provider.
    credit: int
    # How many came, and how many were handed on.
    came: int = 0
    handed_on: int = 0
    # Results that overtook others, by index, each with its size.
    held: dict[int, tuple[object, int]] = {}
    held_bytes: int = 0

    def grant(self, credit: int) -> int:
        """Let so many more come; return by how much that raised what may come."""
        granted = max(0, min(credit, MAX_CREDIT - self.credit))
        self.credit += granted
        return granted

    def take(self, index: int, result: object, size: int, *, is_last: bool) -> list[object]:
        """A result comes; those that are to be handed on now, in order.

        ``index`` is 0 where results cannot overtake. Raises ``StreamBroken``.
        """
        if not is_last:
            self.credit -= 1
            if self.credit < 0:
                raise StreamBroken("more results than were granted")
        if index and index != self.came + 1:
            self._hold(index, result, size)
            return []
        self.came += 1
        ready = [result]
        while self.held and (following := self.held.pop(self.came + 1, None)) is not None:
            self.held_bytes -= following[1]
            self.came += 1
            ready.append(following[0])
        return ready

    def next_index(self) -> int:
        """The index of the next result that is handed on."""
        self.handed_on += 1
        return self.handed_on

    def _hold(self, index: int, result: object, size: int) -> None:
        if not self.came < index <= self.came + MAX_CREDIT + 1 or index in self.held:
            raise StreamBroken(f"result {index} after {self.came}")
        self.held_bytes += size
        if self.held_bytes > HELD_BYTES:
            raise StreamBroken("too much waits for a result that was overtaken")
        self.held[index] = result, size
