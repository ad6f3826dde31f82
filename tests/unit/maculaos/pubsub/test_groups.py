"""Shared subscriptions: everything is dealt out, once, and evenly over time."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from maculaos.pubsub.groups import Turns


@given(st.integers(1, 6), st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_each_event_goes_to_one_member(members: int, counts: list[int]) -> None:
    turns = Turns()
    for count in counts:
        dealt = [
            number
            for _, part in turns.deal("g", range(members), count)
            for number in range(count)[part]
        ]
        assert dealt == list(range(count))


@given(st.integers(1, 6), st.integers(1, 60))
def test_single_events_go_round(members: int, runs: int) -> None:
    turns = Turns()
    got = Counter(member for _ in range(runs) for member, _ in turns.deal("g", range(members), 1))
    assert max(got.values()) - min(got[each] for each in range(members)) <= 1


def test_turns_that_follow_are_one_slice() -> None:
    assert list(Turns().deal("g", "xxxy", 8)) == [("x", slice(0, 6)), ("y", slice(6, 8))]


def test_groups_have_turns_of_their_own() -> None:
    turns = Turns()
    ((first, _),) = turns.deal("a", "xy", 1)
    ((other, _),) = turns.deal("b", "xy", 1)
    assert (first, other) == ("x", "x")
