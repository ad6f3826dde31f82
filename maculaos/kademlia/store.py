"""Records held for others: several publishers under one key, each with its newest record.

Bounded in all, under one key, of one publisher and from one peer. What lies beyond a bound is
refused, so that nobody's flood drives out what others stored. Signatures are checked by who calls.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from maculaos.identity import NodeId
from maculaos.kademlia.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.kademlia.settings import KademliaSettings

# Entries of records that were replaced stay in the heap until it holds this many too many.
_SLACK: Final = 64


class Verdict(IntEnum):
    """What came of a request to store; everything but STORED is a refusal. Append only."""

    STORED = 0
    STALE = 1
    EXPIRED = 2
    FROM_FUTURE = 3
    BAD_SIGNATURE = 4
    WRONG_KEY = 5
    TOO_FAR = 6
    KEY_FULL = 7
    PUBLISHER_FULL = 8
    PEER_FULL = 9
    STORE_FULL = 10
    BUSY = 11


@dataclass(slots=True)
class Held:
    """A record, until when (monotonic seconds), from whom, and when to replicate it."""

    record: Record
    expires: float
    peer: NodeId
    replicate_at: float


class RecordStore:
    """The newest record of each publisher under each key."""

    def __init__(self, settings: KademliaSettings) -> None:
        self._settings = settings
        self._keys: dict[bytes, dict[NodeId, Held]] = {}
        self._of_publisher: dict[NodeId, int] = {}
        self._of_peer: dict[NodeId, int] = {}
        self._expiry: list[tuple[float, bytes, NodeId]] = []
        self._count = 0
        self.bytes_held = 0

    def __len__(self) -> int:
        return self._count

    def keys(self) -> tuple[bytes, ...]:
        """The keys under which something is held."""
        return tuple(self._keys)

    def records(self, key: bytes) -> list[Record]:
        """What is held under ``key``, withdrawals included."""
        return [held.record for held in self._keys.get(key, {}).values()]

    def held(self) -> Iterator[Held]:
        """Everything; it is not to change meanwhile."""
        for publishers in self._keys.values():
            yield from publishers.values()

    def get(self, key: bytes, publisher: NodeId) -> Held | None:
        """What that publisher said under ``key``."""
        return self._keys.get(key, {}).get(publisher)

    def judge(self, record: Record, peer: NodeId) -> Verdict:
        """Whether there is room for ``record``, and no newer one; the record itself unchecked."""
        held = self.get(record.key, record.publisher)
        if held is not None and held.record.rank > record.rank:
            return Verdict.STALE
        added = record.size - (held.record.size if held else 0)
        if self.bytes_held + added > self._settings.record_bytes:
            return Verdict.STORE_FULL
        return Verdict.STORED if held is not None else self._judge_new(record, peer)

    def _judge_new(self, record: Record, peer: NodeId) -> Verdict:
        bounds = self._settings
        if len(self._keys.get(record.key, ())) >= bounds.records_per_key:
            return Verdict.KEY_FULL
        if self._of_publisher.get(record.publisher, 0) >= bounds.records_per_publisher:
            return Verdict.PUBLISHER_FULL
        if self._of_peer.get(peer, 0) >= bounds.records_per_peer:
            return Verdict.PEER_FULL
        return Verdict.STORED if self._count < bounds.records else Verdict.STORE_FULL

    def put(self, record: Record, peer: NodeId, expires: float, replicate_at: float) -> None:
        """Hold ``record``, for which ``judge`` found room, in place of an older one."""
        held = self.get(record.key, record.publisher)
        if held is None:
            self._keys.setdefault(record.key, {})[record.publisher] = Held(
                record, expires, peer, replicate_at
            )
            self._count += 1
            self.bytes_held += record.size
            _add(self._of_publisher, record.publisher, 1)
            _add(self._of_peer, peer, 1)
        else:
            held.replicate_at = replicate_at
            if held.record.rank == record.rank:
                return
            self.bytes_held += record.size - held.record.size
            held.record, held.expires = record, expires
        heapq.heappush(self._expiry, (expires, record.key, record.publisher))
        if len(self._expiry) > 2 * self._count + _SLACK:
            self._expiry = [(each.expires, *_place(each.record)) for each in self.held()]
            heapq.heapify(self._expiry)

    def expire(self, now: float) -> int:
        """Forget what has expired; how many records that were."""
        before = self._count
        while self._expiry and self._expiry[0][0] <= now:
            expires, key, publisher = heapq.heappop(self._expiry)
            held = self.get(key, publisher)
            if held is not None and held.expires <= expires:
                self._drop(held)
        return before - self._count

    def next_deadline(self) -> float:
        """When ``expire`` has something to do; infinity if nothing is held."""
        return self._expiry[0][0] if self._expiry else math.inf

    def _drop(self, held: Held) -> None:
        key, publisher = _place(held.record)
        del self._keys[key][publisher]
        if not self._keys[key]:
            del self._keys[key]
        self._count -= 1
        self.bytes_held -= held.record.size
        _add(self._of_publisher, publisher, -1)
        _add(self._of_peer, held.peer, -1)


def _place(record: Record) -> tuple[bytes, NodeId]:
    return record.key, record.publisher


def _add(counts: dict[NodeId, int], node_id: NodeId, change: int) -> None:
    count = counts.get(node_id, 0) + change
    if count:
        counts[node_id] = count
    else:
        counts.pop(node_id, None)
