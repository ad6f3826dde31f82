"""Records of this node on their way to the closest nodes: how many have taken each one."""

from __future__ import annotations

from dataclasses import dataclass, field

from maculaos.kademlia.record import Record
from maculaos.kademlia.requests import RecordPlaced


@dataclass(slots=True)
class Placement:
    """One record, how many answers are awaited, and how many nodes took it."""

    record: Record
    waiting: int = 0
    copies: int = 0


@dataclass(slots=True)
class Placements:
    """The placements under way, by number; bounded by the requests that may wait."""

    _under_way: dict[int, Placement] = field(default_factory=dict)

    def begin(self, job: int, placement: Placement) -> RecordPlaced | None:
        """Wait for the answers; the result, if none is awaited."""
        self._under_way[job] = placement
        return self._end(job, placement)

    def settle(self, job: int, *, is_stored: bool) -> RecordPlaced | None:
        """One node took the record, or did not; the result, if that was the last answer."""
        placement = self._under_way.get(job)
        if placement is None:
            return None
        placement.copies += is_stored
        placement.waiting -= 1
        return self._end(job, placement)

    def _end(self, job: int, placement: Placement) -> RecordPlaced | None:
        if placement.waiting:
            return None
        del self._under_way[job]
        record = placement.record
        return RecordPlaced(record.key, record.sequence, placement.copies)
