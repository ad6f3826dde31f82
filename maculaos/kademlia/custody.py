"""Custody: the records this node keeps for others, which it takes in, and whom it gives them.

Three things keep the copies of a record where they are looked for: its publisher says it again, a
holder that heard nothing of it for long gives it to the k closest again, and the closest holder
gives it to a newcomer who is among the k closest (Kademlia, section 2.5).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from maculaos.kademlia.store import RecordStore, Verdict

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId
    from maculaos.kademlia.contact import Contact
    from maculaos.kademlia.record import Record
    from maculaos.kademlia.settings import KademliaSettings
    from maculaos.kademlia.signing import Notary
    from maculaos.kademlia.table import RoutingTable

# Keys to look through for newcomers: in all, and in one turn.
MAX_HANDOVERS: Final = 65_536
HANDOVERS_PER_TURN: Final = 256


class Custody:
    """What is held; times in monotonic seconds, but for what records say."""

    def __init__(
        self, table: RoutingTable, notary: Notary, settings: KademliaSettings, rng: random.Random
    ) -> None:
        self.store = RecordStore(settings)
        self.notary = notary
        # Seconds since the epoch at the monotonic time 0.
        self.wall_offset = 0.0
        self._table = table
        self._settings = settings
        self._rng = rng
        self._handovers: deque[tuple[Contact, bytes]] = deque()

    def offer(self, record: Record, peer: NodeId, now: float) -> Verdict:
        """Hold ``record`` if it is genuine, alive, near to this node, and within the bounds."""
        verdict = self.store.judge(record, peer)
        if verdict is not Verdict.STORED:
            return verdict
        held = self.store.get(record.key, record.publisher)
        if held is None or held.record != record:
            verdict = self._check_new(record, now)
        if verdict is Verdict.STORED:
            self.put(record, peer, now)
        return verdict

    def put(self, record: Record, peer: NodeId, now: float) -> None:
        """Hold ``record``, which is genuine and for which there is room."""
        expires = now + record.remaining_s(now + self.wall_offset)
        # By lot, so that of many holders one goes first and the others hear it.
        again = now + self._settings.replicate_interval_s * self._rng.uniform(1.0, 1.5)
        self.store.put(record, peer, expires, again)

    def check(self, record: Record, now: float) -> Verdict:
        """Whether ``record`` is genuine and alive."""
        return self.notary.check(record, now + self.wall_offset)

    def answer(self, key: bytes) -> tuple[Record, ...]:
        """What is held under ``key``; drawn by lot if it does not all fit into one answer."""
        records = self.store.records(key)
        if sum(record.size for record in records) > self._settings.answer_bytes:
            self._rng.shuffle(records)
        fitting: list[Record] = []
        room = self._settings.answer_bytes
        for record in records:
            room -= record.size
            if room < 0:
                break
            fitting.append(record)
        return tuple(fitting)

    def is_responsible(self, key: bytes) -> bool:
        """Whether this node is among the k closest to ``key`` that it knows."""
        return self._table.count_closer(int.from_bytes(key)) < self._settings.k

    def due(self, now: float, limit: int) -> list[Record]:
        """At most ``limit`` records to give to the k closest once more, now."""
        found: list[Record] = []
        for held in self.store.held():
            if len(found) >= limit:
                break
            if held.replicate_at <= now:
                interval_s = self._settings.replicate_interval_s
                held.replicate_at = now + interval_s * self._rng.uniform(1.0, 1.5)
                if self.is_responsible(held.record.key):
                    found.append(held.record)
        return found

    def welcome(self, newcomer: Contact) -> None:
        """Look, in the next turns, for what ``newcomer`` is to hold as well."""
        room = MAX_HANDOVERS - len(self._handovers)
        self._handovers.extend((newcomer, key) for key in self.store.keys()[: max(0, room)])

    @property
    def has_handovers(self) -> bool:
        """Whether ``handovers`` has more to look through."""
        return bool(self._handovers)

    def handovers(self, limit: int) -> list[tuple[Contact, Record]]:
        """Who is to be given which records; at most about ``limit`` of them in one turn."""
        found: list[tuple[Contact, Record]] = []
        for _ in range(min(HANDOVERS_PER_TURN, len(self._handovers))):
            if len(found) >= limit:
                break
            newcomer, key = self._handovers.popleft()
            if self._hands_over(newcomer, int.from_bytes(key)):
                found += [(newcomer, record) for record in self.store.records(key)]
        return found

    def _hands_over(self, newcomer: Contact, key: int) -> bool:
        """Whether the newcomer is to hold ``key``, and nobody is closer to tell it but us."""
        nearest = self._table.closest(key, self._settings.k)
        if newcomer.position not in [contact.position for contact in nearest]:
            return False
        others = [each for each in nearest[:2] if each.position != newcomer.position]
        return not others or others[0].position ^ key > self._table.me ^ key

    def _check_new(self, record: Record, now: float) -> Verdict:
        # Twice as many as hold it: tables of two nodes differ, and some of theirs are dead.
        if self._table.count_closer(int.from_bytes(record.key)) >= 2 * self._settings.k:
            return Verdict.TOO_FAR
        return self.check(record, now)
