"""Upkeep: which lookups nobody waits for are due, queued by what they are for, never twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from maculaos.kademlia.record import Record
    from maculaos.kademlia.settings import KademliaSettings
    from maculaos.kademlia.table import RoutingTable

# How often, in one refresh or replicate interval, is looked for what is due.
LOOKS_PER_INTERVAL: Final = 20
# The number under which the refresh of this node's own neighbourhood is queued.
OWN_NEIGHBOURHOOD: Final = -1


class Upkeep:
    """Buckets to refresh and records to place, in the order in which they became due."""

    def __init__(
        self, table: RoutingTable, settings: KademliaSettings, rng: random.Random, now: float
    ) -> None:
        self._table = table
        self._settings = settings
        self._rng = rng
        self._refreshes: dict[int, None] = {}
        self._placements: dict[bytes, Record] = {}
        self._own_at = now + settings.refresh_interval_s * rng.uniform(0.5, 1.0)
        self._refresh_at = now + self._pause(settings.refresh_interval_s)
        self._replicate_at = now + self._pause(settings.replicate_interval_s)

    def __len__(self) -> int:
        return len(self._refreshes) + len(self._placements)

    def refresh(self, indices: list[int]) -> None:
        """Queue the refresh of these buckets; not where somebody else fills the table."""
        if not self._settings.is_fed:
            self._refreshes.update(dict.fromkeys(indices))

    def place(self, record: Record) -> None:
        """Queue the placing of a record of this node; a newer one takes its turn."""
        self._placements[record.key] = record

    def look(self, now: float) -> bool:
        """Queue the refreshes that are due; whether to look for records to replicate, too."""
        if now >= self._refresh_at:
            self._refresh_at = now + self._pause(self._settings.refresh_interval_s)
            self.refresh(self._table.stale(now - self._settings.refresh_interval_s))
        if now >= self._own_at:
            self._own_at = now + self._settings.refresh_interval_s * self._rng.uniform(0.8, 1.0)
            self.refresh([OWN_NEIGHBOURHOOD])
        if now < self._replicate_at:
            return False
        self._replicate_at = now + self._pause(self._settings.replicate_interval_s)
        return True

    def take_placement(self) -> Record | None:
        """The next record to place; these go before refreshes, for somebody wants them found."""
        key = next(iter(self._placements), None)
        return self._placements.pop(key) if key is not None else None

    def take_refresh(self) -> tuple[int, int] | None:
        """The next bucket to refresh, and a position within its range to look up."""
        index = next(iter(self._refreshes), None)
        if index is None:
            return None
        del self._refreshes[index]
        if index == OWN_NEIGHBOURHOOD:
            return index, self._table.me
        return index, self._table.me ^ (1 << index | self._rng.getrandbits(index + 1) >> 1)

    def next_deadline(self) -> float:
        """When ``look`` has something to do."""
        return min(self._refresh_at, self._own_at, self._replicate_at)

    def _pause(self, interval_s: float) -> float:
        return interval_s / LOOKS_PER_INTERVAL * self._rng.uniform(0.8, 1.2)
