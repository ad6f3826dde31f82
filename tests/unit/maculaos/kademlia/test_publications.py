"""Publications: said again in time, each time above what was said before."""

from __future__ import annotations

import math
import random

from kademlia_parts import contact_at
from maculaos.kademlia.publications import Publications
from maculaos.kademlia.record import Kind
from maculaos.kademlia.settings import KademliaSettings
from simulation.lookups import notary_of

KEY = bytes(32)


def publications() -> Publications:
    me = contact_at(1).node_id
    return Publications(me, notary_of(me), KademliaSettings(), random.Random(1))


def test_a_record_is_said_again_before_half_of_its_life_is_over() -> None:
    own = publications()
    assert own.next_deadline() == math.inf
    first = own.add(Kind.TOPIC, KEY, b"v", 0.0, 5000.0)
    assert (first.expires_at, first.ttl_s) == (8600, 3600)
    assert own.due(950.0, 5950.0) == []
    (again,) = own.due(own.next_deadline(), 6000.0)
    assert own.next_deadline() <= 2400.0
    assert again.sequence > first.sequence
    assert again.expires_at == 9600


def test_sequences_grow_within_a_millisecond_and_when_the_clock_goes_back() -> None:
    own = publications()
    sequences = [
        own.add(Kind.TOPIC, KEY, b"v", 0.0, wall).sequence for wall in (50.0, 50.0, 49.0, 51.0)
    ]
    assert sequences == sorted(set(sequences))


def test_a_node_that_starts_again_overrules_what_it_said_before() -> None:
    before = publications().add(Kind.TOPIC, KEY, b"v", 0.0, 1000.0)
    after = publications().add(Kind.TOPIC, KEY, b"v", 0.0, 1001.0)
    assert after.rank > before.rank


def test_what_is_withdrawn_is_not_said_again() -> None:
    own = publications()
    own.add(Kind.TOPIC, KEY, b"v", 0.0, 0.0)
    withdrawal = own.withdraw(KEY, 1.0)
    assert withdrawal is not None
    assert withdrawal.is_withdrawal
    assert own.withdraw(KEY, 1.0) is None
    assert own.due(10_000.0, 10_000.0) == []
    assert own.next_deadline() == math.inf


def test_everything_can_be_hurried() -> None:
    own = publications()
    own.hurry(5.0)
    assert own.next_deadline() == math.inf
    own.add(Kind.TOPIC, KEY, b"v", 0.0, 0.0)
    own.hurry(5.0)
    assert own.next_deadline() == 5.0
    assert len(own.due(5.0, 5.0)) == 1
