"""The routing table: bounded buckets, the least recently seen first, and the truly closest."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kademlia_parts import contact_at, contacts_at, random_contact
from maculaos.identity import NodeId
from maculaos.kademlia.distance import bucket_index
from maculaos.kademlia.table import MAX_FAILURES, RoutingTable

K = 3
ME = 0b1000_0000
# Tiny positions, so that a failure can be read by eye.
tiny = st.integers(0, 255)
deeds = st.lists(st.tuples(st.sampled_from(["see", "fail", "forget"]), tiny), max_size=120)


def table_of(me: int = ME, k: int = K) -> RoutingTable:
    return RoutingTable(NodeId(me.to_bytes(32)), k)


def act(table: RoutingTable, steps: list[tuple[str, int]]) -> None:
    for deed, position in steps:
        if deed == "see":
            table.see(contact_at(position), 0.0)
        elif deed == "fail":
            table.fail(position)
        else:
            table.forget(position)


@given(deeds, tiny)
def test_a_table_holds_its_invariants_through_any_history(
    steps: list[tuple[str, int]], me: int
) -> None:
    table = table_of(me)
    act(table, steps)
    live = list(table)
    assert len(live) == len(table) == len({contact.position for contact in live})
    assert me not in [contact.position for contact in live]
    for index, bucket in table._buckets.items():
        standings = (bucket.live, bucket.spare, bucket.doubtful)
        assert all(len(standing) <= K for standing in standings)
        held = [position for standing in standings for position in standing]
        assert len(held) == len(set(held))
        assert all(bucket_index(me, position) == index for position in held)
        # Nobody waits while there is room.
        assert len(bucket.live) == K or not bucket.spare
        assert bool(bucket.live) == bool(table._occupied >> index & 1)
        assert bucket.failures.keys() == bucket.doubtful.keys()


@given(deeds, tiny, tiny, st.integers(1, 20))
def test_closest_equals_brute_force(
    steps: list[tuple[str, int]], me: int, target: int, count: int
) -> None:
    table = table_of(me)
    act(table, steps)
    live = sorted((contact.position for contact in table), key=lambda each: each ^ target)
    if live:
        found = [contact.position for contact in table.closest(target, count)]
        assert found == live[:count]
    assert table.count_closer(target) == sum(each ^ target < me ^ target for each in live)


def test_closest_equals_brute_force_among_large_ids() -> None:
    rng = random.Random(5)
    table = table_of(rng.getrandbits(256), k=20)
    for _ in range(3000):
        table.see(random_contact(rng), 0.0)
    everybody = [contact.position for contact in table]
    for _ in range(300):
        target = rng.choice([rng.getrandbits(256), table.me ^ rng.getrandbits(rng.randint(1, 256))])
        found = [contact.position for contact in table.closest(target, 20)]
        assert found == sorted(everybody, key=target.__xor__)[:20]


def test_a_full_bucket_asks_the_least_recently_seen_for_life_before_it_is_replaced() -> None:
    table = table_of(0)
    first, second, third, newcomer = contacts_at([4, 5, 6, 7])
    for contact in (first, second, third, first):
        table.see(contact, 0.0)
    assert not table.see(newcomer, 0.0)
    assert table.get(7) is None
    assert table.ping_due(newcomer, 60.0, 0.0) == second
    assert table.ping_due(newcomer, 60.0, 59.0) is None, "not for every newcomer"
    table.fail(second.position)
    assert table.get(7) == newcomer
    assert table.get(5) is None


def test_a_contact_that_lives_keeps_its_place_however_many_want_it() -> None:
    table = table_of(0, k=1)
    table.see(contact_at(4), 0.0)
    for position in (5, 6, 7):
        table.see(contact_at(position), 0.0)
    assert [contact.position for contact in table] == [4]


def test_the_doubtful_are_not_given_away_but_stand_in_when_nobody_else_is_left() -> None:
    table = table_of(0)
    table.see(contact_at(4), 0.0)
    table.see(contact_at(5), 0.0)
    table.fail(4)
    assert [each.position for each in table.closest(4, 2)] == [5]
    table.fail(5)
    assert [each.position for each in table.closest(4, 2)] == [4, 5]
    table.see(contact_at(4), 0.0)
    assert [each.position for each in table.closest(4, 2)] == [4]


def test_who_fails_too_often_in_a_row_is_forgotten() -> None:
    table = table_of(0)
    table.see(contact_at(4), 0.0)
    for _ in range(MAX_FAILURES):
        assert table.closest(4, 1)
        table.fail(4)
    assert not table.closest(4, 1)


def test_a_contact_seen_anew_brings_its_new_addresses() -> None:
    table = table_of(0)
    table.see(contact_at(4, "a:1"), 0.0)
    table.see(contact_at(4, "b:1"), 0.0)
    assert [contact.addresses for contact in table] == [("b:1",)]


@pytest.mark.parametrize(("touched", "stale"), [(7, [0]), (1, [2])])
def test_buckets_without_lookups_go_stale(touched: int, stale: list[int]) -> None:
    table = table_of(0)
    table.see(contact_at(1), 0.0)
    table.see(contact_at(5), 0.0)
    table.touch(touched, 100.0)
    assert table.stale(50.0) == stale
    assert table.missing()[-1] == 0
    assert table.missing()[0] == 255
