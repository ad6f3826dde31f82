"""Which senders of datagrams are known, and which of them are forgotten when. Pure.

A flow is one source that sends to one port. There are at most ``most``: a new one takes the place
of the one that was silent longest.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

# The address of a sender, as sockets give it.
Source: TypeAlias = tuple[object, ...]


class Flows:
    """The senders to one port, in the order of their last datagram."""

    def __init__(self, most: int, idle_s: float) -> None:
        self._most = most
        self._idle_s = idle_s
        self._last: OrderedDict[Source, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def see(self, source: Source, now: float) -> Source | None:
        """A datagram passed; return who has to be forgotten for it, if anybody."""
        self._last[source] = now
        self._last.move_to_end(source)
        return next(iter(self._last)) if len(self._last) > self._most else None

    def forget(self, source: Source) -> None:
        """It is no flow any more; nothing happens if it was none."""
        self._last.pop(source, None)

    def idle(self, now: float) -> tuple[Source, ...]:
        """Those that have been silent for too long, the longest first."""
        found = []
        for source, last in self._last.items():
            if now - last < self._idle_s:
                break
            found.append(source)
        return tuple(found)
