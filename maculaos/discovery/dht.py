"""Records of the DHT for whoever awaits them: a node that answers by an event, made awaitable.

It finds and publishes nothing itself. One search for a key serves all who ask for it meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class DhtRecords:
    """See ``maculaos.discovery.method.Records``; what a search came to, ``found`` is told."""

    def __init__(
        self, begin_search: Callable[[bytes], None], say: Callable[[bytes, bytes], None]
    ) -> None:
        """``begin_search`` takes a key, ``say`` a key and the value of this node there."""
        self._begin_search = begin_search
        self._say = say
        self._searches: dict[bytes, asyncio.Future[tuple[bytes, ...]]] = {}

    async def lookup(self, key: bytes) -> tuple[bytes, ...]:
        """See ``Records.lookup``."""
        search = self._searches.get(key)
        if search is None:
            search = self._searches[key] = asyncio.get_running_loop().create_future()
            # It may be over before it returns, where no other node is to be asked.
            self._begin_search(key)
        try:
            # Shielded: of several who wait, one that gives up ends it for none of the others.
            return await asyncio.shield(search)
        finally:
            if self._searches.get(key) is search:
                del self._searches[key]

    async def publish(self, key: bytes, value: bytes) -> None:
        """See ``Records.publish``."""
        self._say(key, value)

    def found(self, key: bytes, values: Sequence[bytes]) -> None:
        """A search is over; one that nobody waits for is passed over."""
        search = self._searches.pop(key, None)
        if search is not None and not search.done():
            search.set_result(tuple(values))
