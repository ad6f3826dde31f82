"""Mailboxes: bounded, in order, and what gives way is what the policy says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.identity import NodeId
from maculaos.pubsub.mailbox import Mailbox, Overflow, Run, Taking
from maculaos.wire.registry import MESSAGE_STREAMS, Policy


def run(first: int, count: int = 1, priority: int = 2, **more: object) -> Run:
    """Events whose payloads are their numbers."""
    payloads = tuple(Raw(str(number).encode()) for number in range(first, first + count))
    return Run("t", b"p", first, payloads, priority, **more)  # type: ignore[arg-type]


def acknowledged(first: int, count: int = 1) -> Run:
    return run(first, count, taking=Taking((NodeId(b"p"), "", 2), first))


def numbers(runs: list[Run]) -> list[int]:
    for each in runs:
        expected = range(each.sequence, each.sequence + len(each.payloads))
        assert [int(bytes(payload)) for payload in each.payloads] == list(expected)
    return [int(bytes(payload)) for each in runs for payload in each.payloads]


@given(st.lists(st.integers(1, 5), max_size=10), st.integers(1, 20))
def test_no_more_than_the_room_and_one_run_is_handed_out_at_once(
    counts: list[int], room: int
) -> None:
    mailbox = Mailbox(0, 100, Overflow.BLOCK, 1000)
    for index, count in enumerate(counts):
        mailbox.put(run(10 * index + 10, count))
    mailbox.grant(100)
    assert mailbox.take(0.0, 0) == ([], [])
    handed: list[Run] = []
    while mailbox.waiting:
        pieces = mailbox.take(0.0, room)[0]
        sizes = [sum(map(len, each.payloads)) for each in pieces]
        assert sum(sizes[:-1]) < room
        handed += pieces
    assert len(numbers(handed)) == sum(counts)
    assert mailbox.waiting_bytes == 0


def test_the_policies_are_those_of_the_wire() -> None:
    assert [(each.name, each.value) for each in Overflow] == [(p.name, p.value) for p in Policy]
    assert len(MESSAGE_STREAMS) == 4


@given(
    st.sampled_from(Overflow),
    st.integers(1, 8),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 6)), max_size=20),
)
def test_never_more_than_the_limit_waits_and_nothing_is_lost_uncounted(
    overflow: Overflow, limit: int, steps: list[tuple[int, int, int]]
) -> None:
    mailbox = Mailbox(0, limit, overflow, 1000)
    first, handed, refused = 1, 0, 0
    for count, priority, credit in steps:
        is_kept = mailbox.put(run(first, count, priority))
        refused += 0 if is_kept else count
        first += count
        assert mailbox.waiting <= limit
        mailbox.grant(credit)
        handed += len(numbers(mailbox.take(0.0)[0]))
    assert handed + mailbox.waiting + mailbox.dropped + refused == first - 1
    assert (refused > 0) <= (overflow is Overflow.DISCONNECT)


@given(st.lists(st.integers(1, 5), max_size=10), st.lists(st.integers(0, 7), max_size=20))
def test_events_of_one_priority_are_handed_out_in_order(
    counts: list[int], credits_: list[int]
) -> None:
    mailbox = Mailbox(0, 1000, Overflow.BLOCK, 10_000)
    first = 1
    for count in counts:
        mailbox.put(run(first, count))
        first += count
    handed: list[int] = []
    for credit in credits_:
        mailbox.grant(credit)
        handed += numbers(mailbox.take(0.0)[0])
    assert handed == list(range(1, min(first, sum(credits_) + 1)))


@pytest.mark.parametrize(
    ("overflow", "left"),
    [
        (Overflow.BLOCK, [1, 2, 3, 4]),
        (Overflow.DROP_NEWEST, [1, 2, 3, 4]),
        (Overflow.DROP_OLDEST, [4, 5, 6, 7]),
    ],
)
def test_what_gives_way_is_what_the_policy_says(overflow: Overflow, left: list[int]) -> None:
    mailbox = Mailbox(0, 4, overflow, 1000)
    mailbox.put(run(1, 3))
    mailbox.put(run(4, 4))
    mailbox.grant(100)
    assert numbers(mailbox.take(0.0)[0]) == left
    assert mailbox.dropped == 3


def test_the_least_urgent_gives_way_first_and_the_most_urgent_goes_first() -> None:
    mailbox = Mailbox(0, 3, Overflow.DROP_OLDEST, 1000)
    for number, priority in ((1, 0), (2, 3), (3, 2), (4, 1)):
        mailbox.put(run(number, 1, priority))
    mailbox.grant(10)
    assert numbers(mailbox.take(0.0)[0]) == [1, 4, 3]


def test_overdue_events_are_dropped_when_their_turn_comes() -> None:
    mailbox = Mailbox(0, 10, Overflow.BLOCK, 1000)
    mailbox.put(run(1, expires_at=5.0))
    mailbox.put(run(2, expires_at=math.inf))
    mailbox.grant(10)
    assert numbers(mailbox.take(5.0)[0]) == [2]
    assert mailbox.dropped == 1


@pytest.mark.parametrize("overflow", Overflow)
def test_an_acknowledged_run_never_gives_way(overflow: Overflow) -> None:
    mailbox = Mailbox(0, 2, overflow, 1000)
    kept = acknowledged(1, 2)
    mailbox.put(kept)
    mailbox.put(run(3))
    assert not mailbox.has_room(acknowledged(4))
    mailbox.grant(10)
    assert numbers(mailbox.take(0.0)[0])[:2] == [1, 2]


def test_a_long_acknowledged_run_may_wait_alone() -> None:
    mailbox = Mailbox(0, 2, Overflow.BLOCK, 1)
    assert mailbox.has_room(acknowledged(1, 50))


@given(st.integers(1, 9), st.lists(st.integers(1, 4), min_size=9, max_size=9))
def test_an_acknowledged_run_in_pieces_is_counted_once_for_each(
    count: int, credits_: list[int]
) -> None:
    mailbox = Mailbox(0, 100, Overflow.BLOCK, 1000)
    whole = acknowledged(1, count)
    assert whole.taking is not None
    mailbox.put(whole)
    pieces = 0
    for credit in credits_:
        mailbox.grant(credit)
        pieces += len(mailbox.take(0.0)[0])
        assert whole.taking.left == pieces + (mailbox.waiting > 0)


def test_bytes_are_bounded_too() -> None:
    mailbox = Mailbox(0, 100, Overflow.DROP_OLDEST, 10)
    for first in (1, 2):
        mailbox.put(Run("t", b"p", first, (Raw(b"x" * 8),)))
    mailbox.grant(10)
    ((kept,), _) = mailbox.take(0.0)
    assert kept.sequence == 2


def test_what_is_overdue_and_acknowledged_is_told() -> None:
    mailbox = Mailbox(0, 100, Overflow.BLOCK, 1000)
    late = acknowledged(1)
    late.expires_at = 1.0
    mailbox.put(late)
    assert mailbox.take(2.0) == ([], [late])
