"""The record store: bounded against anybody, order does not matter, expired means gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kademlia_parts import record_of
from maculaos.identity import NodeId
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.store import RecordStore, Verdict

if TYPE_CHECKING:
    from maculaos.kademlia.record import Record

TIGHT = KademliaSettings(
    records=12,
    records_per_publisher=5,
    records_per_peer=6,
    records_per_key=3,
    record_bytes=8192,
)


def peer(number: int) -> NodeId:
    return NodeId(number.to_bytes(32))


def put(store: RecordStore, record: Record, sender: int = 99, expires: float = 100.0) -> Verdict:
    verdict = store.judge(record, peer(sender))
    if verdict is Verdict.STORED:
        store.put(record, peer(sender), expires, 0.0)
    return verdict


records = st.builds(
    record_of,
    st.integers(1, 4),
    st.integers(1, 4),
    value=st.sampled_from([b"", b"v", bytes(1500)]),
    sequence=st.integers(0, 3),
)
deeds = st.lists(st.tuples(records, st.integers(1, 3), st.floats(0, 20)), max_size=60)


@given(deeds)
def test_caps_hold_against_hostile_stores(steps: list[tuple[Record, int, float]]) -> None:
    store = RecordStore(TIGHT)
    for now, (record, sender, life_s) in enumerate(steps):
        store.expire(now)
        put(store, record, sender, now + life_s)
        held = [each.record for each in store.held()]
        assert len(held) == len(store) <= TIGHT.records
        assert store.bytes_held == sum(each.size for each in held) <= TIGHT.record_bytes
        for number in range(1, 5):
            assert len(store.records(number.to_bytes(32))) <= TIGHT.records_per_key
            of_publisher = [each for each in held if each.publisher == peer(number)]
            assert len(of_publisher) <= TIGHT.records_per_publisher
            of_peer = [each for each in store.held() if each.peer == peer(number)]
            assert len(of_peer) <= TIGHT.records_per_peer
        assert len(store._expiry) <= 2 * len(store) + 64 + 1
        assert all(each.expires > now for each in store.held() if each.expires != now + life_s)
    store.expire(10_000.0)
    assert (len(store), store.bytes_held, store.keys()) == (0, 0, ())
    assert (store._of_peer, store._of_publisher) == ({}, {})


@given(st.lists(records, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_stores_does_not_matter_while_there_is_room(
    heard: list[Record], rng: object
) -> None:
    shuffled = list(heard)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands in a random.Random
    outcomes = []
    for order in (heard, shuffled):
        store = RecordStore(KademliaSettings())
        for record in order:
            put(store, record)
        outcomes.append(
            {(each.record.key, each.record.publisher): each.record for each in store.held()}
        )
    assert outcomes[0] == outcomes[1]


def test_each_bound_has_its_own_refusal() -> None:
    store = RecordStore(TIGHT)
    assert [put(store, record_of(publisher), publisher) for publisher in range(1, 5)] == [
        Verdict.STORED,
        Verdict.STORED,
        Verdict.STORED,
        Verdict.KEY_FULL,
    ]
    for key in range(2, 6):
        assert put(store, record_of(1, key), key) is Verdict.STORED
    assert put(store, record_of(1, 6), 50) is Verdict.PUBLISHER_FULL
    for key in range(10, 15):
        assert put(store, record_of(key, key), 60) is Verdict.STORED
    assert put(store, record_of(20, 20), 60) is Verdict.STORE_FULL
    wide = RecordStore(KademliaSettings(records_per_peer=1))
    assert put(wide, record_of(1, 1)) is Verdict.STORED
    assert put(wide, record_of(1, 2)) is Verdict.PEER_FULL


def test_bytes_are_bounded_also_by_updates() -> None:
    store = RecordStore(TIGHT)
    assert put(store, record_of(1, 1, value=bytes(4096))) is Verdict.STORED
    assert put(store, record_of(2, 1, value=b"v")) is Verdict.STORED
    assert put(store, record_of(2, 1, value=bytes(4096), sequence=2)) is Verdict.STORE_FULL
    assert [len(record.value) for record in store.records((1).to_bytes(32))] == [4096, 1]


def test_an_older_record_is_stale_and_the_same_again_is_welcome() -> None:
    store = RecordStore(TIGHT)
    new, old = record_of(1, sequence=2), record_of(1, sequence=1)
    assert put(store, new) is Verdict.STORED
    assert put(store, old) is Verdict.STALE
    assert put(store, new) is Verdict.STORED
    assert store.records(new.key) == [new]


def test_a_record_that_was_renewed_survives_the_end_of_the_old_one() -> None:
    store = RecordStore(TIGHT)
    put(store, record_of(1, sequence=1), expires=10.0)
    put(store, record_of(1, sequence=2), expires=20.0)
    assert store.expire(10.0) == 0
    assert len(store) == 1
    assert store.expire(20.0) == 1
