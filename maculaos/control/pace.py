"""Pace: clients that publish faster than links carry are held back until there is room.

A node does not read from such a client, so that the client's own socket fills and its program
waits. A link that does not move at all is not waited for: its events are dropped and counted, as
the bound of its queue says, and nobody else is kept from publishing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# Parts of a link's queue: from so many of its bytes on publishers wait, down to so many.
_FULL_PART: Final = 8
_ROOM_PART: Final = 16
# A link has nobody to tell when its queue has become shorter, so it is looked at.
_LOOK_S: Final = 0.001
# Without a byte less for so long, a link does not move.
_STALLED_S: Final = 0.25


class Queue(Protocol):
    """A link, as far as its queue goes."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that were taken and are not acknowledged."""
        ...


class Held(Protocol):
    """A client that can be held back, by several at once."""

    def pause(self) -> None:
        """Take nothing from it for now; who says so says ``resume`` once."""
        ...

    def resume(self) -> None:
        """Take from it again, unless somebody else holds it back."""
        ...


class Pace:
    """Holds clients back while a queue is crowded and moves."""

    def __init__(self, queue_bytes: int, find: Callable[[int], Held | None]) -> None:
        self.full_bytes = queue_bytes // _FULL_PART
        self._room_bytes = queue_bytes // _ROOM_PART
        self._find = find
        self._held: dict[int, None] = {}
        # How long each crowded queue was when it was last looked at, and when it last was shorter.
        self._crowded: dict[Queue, tuple[int, float]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def crowd(self, queue: Queue) -> None:
        """That queue holds more than ``full_bytes``."""
        if queue not in self._crowded:
            self._crowded[queue] = (queue.queued_bytes, asyncio.get_running_loop().time())

    def spoke(self, client: int) -> None:
        """A client said something: hold it back if a queue is crowded that moves."""
        if self._crowded and client not in self._held and self._moving():
            held = self._find(client)
            if held is not None:
                self._held[client] = None
                held.pause()
            self._arm()

    def forget(self, queue: Queue) -> None:
        """That queue is gone, with its link."""
        self._crowded.pop(queue, None)

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
        self._held.clear()

    def _moving(self) -> Collection[Queue]:
        """The crowded queues worth waiting for; those with room again are forgotten."""
        now, moving = asyncio.get_running_loop().time(), []
        for queue, (before, shorter_at) in list(self._crowded.items()):
            size = queue.queued_bytes
            if size <= self._room_bytes:
                del self._crowded[queue]
                continue
            moved_at = now if size < before else shorter_at
            self._crowded[queue] = (size, moved_at)
            if now - moved_at < _STALLED_S:
                moving.append(queue)
        return moving

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._moving():
            self._arm()
            return
        held, self._held = self._held, {}
        for client in held:
            if (found := self._find(client)) is not None:
                found.resume()
