"""What this node itself publishes, and when it says each of it again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maculaos.errors import MaculaError
from maculaos.kademlia.record import MAX_VALUE_SIZE, Kind, Record

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId
    from maculaos.kademlia.settings import KademliaSettings
    from maculaos.kademlia.signing import Notary


class CannotPublish(MaculaError, ValueError):
    """A value that is empty or too long, or one record more than a node may publish."""


@dataclass(slots=True)
class Publication:
    """One record of this node; ``due`` is when to say it again, in monotonic seconds."""

    kind: Kind
    value: bytes
    due: float


class Publications:
    """The own records, by key; the one said longest ago first."""

    def __init__(
        self, me: NodeId, notary: Notary, settings: KademliaSettings, rng: random.Random
    ) -> None:
        self._me = me
        self._notary = notary
        self._settings = settings
        self._rng = rng
        self._own: dict[bytes, Publication] = {}
        self._last_sequence = 0
        self._earliest = math.inf

    def __len__(self) -> int:
        return len(self._own)

    def add(self, kind: Kind, key: bytes, value: bytes, now: float, wall: float) -> Record:
        """Publish ``value`` from now on; the record to place. Raises ``CannotPublish``."""
        if not 0 < len(value) <= MAX_VALUE_SIZE:
            raise CannotPublish(f"a value has 1 to {MAX_VALUE_SIZE} bytes, got {len(value)}")
        if key not in self._own and len(self._own) >= self._settings.publications:
            raise CannotPublish(f"a node publishes at most {self._settings.publications} records")
        self._own[key] = Publication(kind, value, self._next_due(now))
        return self._sign(kind, key, value, wall)

    def withdraw(self, key: bytes, wall: float) -> Record | None:
        """Publish no longer; the record that says so, ``None`` if there was nothing."""
        publication = self._own.pop(key, None)
        return self._sign(publication.kind, key, b"", wall) if publication else None

    def due(self, now: float, wall: float) -> list[Record]:
        """The records to say again, with a new sequence and a new life."""
        records: list[Record] = []
        for key, publication in self._own.items():
            if publication.due <= now:
                publication.due = self._next_due(now)
                records.append(self._sign(publication.kind, key, publication.value, wall))
        self._earliest = min((each.due for each in self._own.values()), default=math.inf)
        return records

    def hurry(self, now: float) -> None:
        """Say everything again as soon as possible."""
        for publication in self._own.values():
            publication.due = now
        if self._own:
            self._earliest = now

    def next_deadline(self) -> float:
        """When ``due`` may have something to say; infinity if nothing is published."""
        return self._earliest

    def _next_due(self, now: float) -> float:
        due = now + self._settings.republish_interval_s * self._rng.uniform(0.8, 1.0)
        self._earliest = min(self._earliest, due)
        return due

    def _sign(self, kind: Kind, key: bytes, value: bytes, wall: float) -> Record:
        # Milliseconds, so that a node that starts again overrules what it said before.
        self._last_sequence = max(self._last_sequence + 1, int(wall * 1000))
        ttl_s = self._settings.ttl_s
        expires_at = int(wall) + ttl_s
        draft = Record(key, kind, value, self._me, self._last_sequence, expires_at, ttl_s)
        return self._notary.sealed(draft)
