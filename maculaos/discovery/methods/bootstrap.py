"""The bootstrap list in the DHT: some nodes of the realm that most likely run now.

It finds nobody while the node is alone; with a first link it tells of others, so that later the
node depends on none of its configured peers. The static list is the fallback, and always tried.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.discovery.bootstrap import decode, encode, key_of
from maculaos.discovery.candidates import Hint

if TYPE_CHECKING:
    from maculaos.discovery.method import Records, Sink, Surroundings

# After a first link its other end needs a moment to become a contact of the DHT.
_SETTLE_S: Final = 1.0
# How long one lookup may take.
_LOOKUP_S: Final = 30.0


class Method:
    """See ``DiscoveryMethod``."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._settings = around.settings.discovery.bootstrap
        self._key = key_of(around.identity.realm)
        self._own = around.settings.listen.advertised
        self._others: list[tuple[str, ...]] = []

    async def run(self, sink: Sink) -> None:
        """See ``DiscoveryMethod.run``; ends at once for a node without a DHT."""
        records = self._around.records
        while records is not None:
            seen = self._around.linked.count
            try:
                async with asyncio.timeout(_LOOKUP_S):
                    await self._look(records, sink)
            except TimeoutError:
                sink.failed(f"the DHT did not answer within {_LOOKUP_S:g} s")
            await self._pause(seen)

    async def _pause(self, seen: int) -> None:
        """Until it is time to look again, or the first link may lead to a list not seen yet."""
        # Jitter, so that nodes which started together do not all look into an empty list.
        pause_s = self._settings.interval_s * self._around.rng.uniform(0.75, 1.25)
        if self._others:
            await self._around.clock.wait(pause_s)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._around.linked.wait(seen)
                await self._around.clock.wait(_SETTLE_S)

    async def _look(self, records: Records, sink: Sink) -> None:
        entries = [decode(value) for value in await records.lookup(self._key)]
        self._others = others = [
            entry for entry in entries if entry and not set(entry) & set(self._own)
        ]
        lifetime_s = 3 * self._settings.interval_s
        sink.name(Hint(address, lifetime_s) for entry in others for address in entry)
        if len(others) < self._settings.size:
            await records.publish(self._key, encode(self._own))
