"""Lookups under way: what each is for, what it found, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from maculaos.kademlia.lookup import Lookup
from maculaos.kademlia.record import Record, believe
from maculaos.kademlia.requests import LookupDone, ValueFound
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.store import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from maculaos.identity import NodeId


class Purpose(IntEnum):
    """Why a lookup runs. The last two are upkeep, for which nobody waits."""

    FIND_NODE = 0
    FIND_VALUE = 1
    JOIN = 2
    PLACE = 3
    REFRESH = 4


class Findings:
    """The newest genuine record of each publisher, out of many answers; bounded."""

    def __init__(self, key: bytes, limit: int) -> None:
        self._key = key
        self._limit = limit
        self._records: dict[NodeId, Record] = {}
        # Positions of those that answered without any record.
        self.lacking: dict[int, None] = {}
        self.refused = 0

    def take_in(self, records: Iterable[Record], check: Callable[[Record], Verdict]) -> None:
        """Believe what is new, under the right key and genuine; each is checked only once."""
        for record in records:
            held = self._records.get(record.publisher)
            if held is not None and held.rank >= record.rank:
                continue
            if (
                (held is None and len(self._records) >= self._limit)
                or record.key != self._key
                or check(record) is not Verdict.STORED
            ):
                self.refused += 1
            else:
                self._records[record.publisher] = believe(held, record) if held else record

    def living(self) -> tuple[Record, ...]:
        """What was not taken back, by publisher."""
        records = (self._records[publisher] for publisher in sorted(self._records))
        return tuple(record for record in records if not record.is_withdrawal)


@dataclass(slots=True)
class Search:
    """One lookup; ``enough`` living records end a search for values early, 0 wants them all."""

    number: int
    purpose: Purpose
    target: bytes
    lookup: Lookup
    findings: Findings
    enough: int = 0
    record: Record | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be asked."""
        if self.enough and len(self.findings.living()) >= self.enough:
            return True
        return self.lookup.is_done

    def lookup_done(self) -> LookupDone:
        """How a lookup for nodes ended."""
        lookup = self.lookup
        return LookupDone(
            self.number,
            self.target,
            lookup.closest(),
            lookup.hops,
            lookup.asked,
            lookup.is_complete,
        )

    def value_found(self) -> ValueFound:
        """How a lookup for values ended."""
        lookup = self.lookup
        return ValueFound(
            self.number,
            self.target,
            self.findings.living(),
            lookup.hops,
            lookup.asked,
            lookup.is_complete,
        )


@dataclass(slots=True)
class Searches:
    """The lookups under way, by number."""

    settings: KademliaSettings
    under_way: dict[int, Search] = field(default_factory=dict)
    _last_number: int = 0
    _upkeep: int = 0

    def next_number(self) -> int:
        """A number that no other lookup or placement of this node has."""
        self._last_number += 1
        return self._last_number

    def has_room(self, purpose: Purpose) -> bool:
        """Whether one more may run."""
        if purpose in (Purpose.PLACE, Purpose.REFRESH):
            return self._upkeep < self.settings.upkeep_lookups
        return len(self.under_way) - self._upkeep < self.settings.lookups

    def add(self, search: Search) -> None:
        """It begins."""
        self.under_way[search.number] = search
        self._upkeep += search.purpose in (Purpose.PLACE, Purpose.REFRESH)

    def remove(self, search: Search) -> None:
        """It is over."""
        del self.under_way[search.number]
        self._upkeep -= search.purpose in (Purpose.PLACE, Purpose.REFRESH)
