"""Custody: records go where they are looked for, and nobody near is told twice."""

from __future__ import annotations

import random

from kademlia_parts import contact_at, record_of
from maculaos.identity import NodeId
from maculaos.kademlia.custody import Custody
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.store import Verdict
from maculaos.kademlia.table import RoutingTable
from simulation.lookups import notary_of

PEER = NodeId(bytes(32))


def custody_at(me: int, others: list[int], k: int = 2, **settings: int) -> Custody:
    node_id = NodeId(me.to_bytes(32))
    table = RoutingTable(node_id, k)
    for other in others:
        table.see(contact_at(other), 0.0)
    chosen = KademliaSettings(k=k, **settings)  # type: ignore[arg-type]  # numbers only
    return Custody(table, notary_of(node_id), chosen, random.Random(1))


def test_what_many_others_are_closer_to_is_refused() -> None:
    custody = custody_at(8, [0, 1, 2, 3, 4, 5])
    # Of bucket 3, which holds all of them, two are known: not enough to refuse.
    assert custody.offer(record_of(1, key=1), PEER, 0.0) is Verdict.STORED
    crowded = custody_at(0b11000, [0b01000, 0b01001, 0b10000, 0b10001])
    assert crowded.offer(record_of(1, key=0b00111), PEER, 0.0) is Verdict.TOO_FAR


def test_a_record_nobody_repeated_is_due_once_and_a_repeated_one_is_not() -> None:
    custody = custody_at(8, [1])
    record = record_of(1)
    custody.offer(record, PEER, 0.0)
    assert custody.due(599.0, 10) == []
    custody.offer(record, PEER, 599.0)
    assert custody.due(1198.0, 10) == []
    assert custody.due(1500.0, 10) == [record]
    assert custody.due(1500.0, 10) == []


def test_at_most_as_many_are_due_as_may_be_sent() -> None:
    custody = custody_at(8, [1])
    for publisher in range(1, 6):
        custody.offer(record_of(publisher), PEER, 0.0)
    assert len(custody.due(1000.0, 3)) == 3
    assert len(custody.due(1000.0, 3)) == 2


def test_only_the_closest_holder_tells_a_newcomer_that_is_close_itself() -> None:
    record = record_of(1, key=8)
    newcomer = contact_at(9)
    for me, others, given in ((10, [30, 9], 1), (12, [10, 9], 0)):
        custody = custody_at(me, others)
        assert custody.offer(record, PEER, 0.0) is Verdict.STORED
        custody.welcome(newcomer)
        assert custody.handovers(100) == [(newcomer, record)] * given
        assert not custody.has_handovers
    # A newcomer that is not among the k closest gets nothing.
    far = custody_at(10, [8, 9, 1 << 40])
    far.offer(record, PEER, 0.0)
    far.welcome(contact_at(1 << 40))
    assert far.handovers(100) == []


def test_handovers_are_bounded_in_one_turn_and_go_on_in_the_next() -> None:
    custody = custody_at(8, [1])
    for publisher in range(1, 6):
        custody.offer(record_of(publisher, key=publisher), PEER, 0.0)
    custody.welcome(contact_at(1))
    assert custody.handovers(0) == []
    assert custody.has_handovers


def test_an_answer_is_bounded_in_bytes_and_tells_different_ones_each_time() -> None:
    custody = custody_at(8, [1], answer_bytes=10_000)
    for publisher in range(1, 9):
        custody.offer(record_of(publisher, value=bytes([publisher]) * 4096), PEER, 0.0)
    answers = [custody.answer((1).to_bytes(32)) for _ in range(50)]
    assert {len(answer) for answer in answers} == {2}
    assert len({record.publisher for answer in answers for record in answer}) == 8
