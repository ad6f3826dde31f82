"""Policies spread calls as they say."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.choosing import Chooser


def chooser(waiting: dict[int, int] | None = None) -> Chooser:
    """One with a seed, and calls that wait for providers."""
    counts = waiting or {}
    return Chooser(random.Random(7), lambda party: counts.get(party, 0))  # a seed replays the run


@given(st.integers(1, 9), st.integers(1, 5))
def test_in_turn_everybody_is_chosen_as_often_and_in_order(size: int, rounds: int) -> None:
    known, one = list(range(size)), chooser()
    assert [one.in_turn("add", known) for _ in range(size * rounds)] == known * rounds


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=60))
def test_methods_have_turns_of_their_own(calls: list[str]) -> None:
    one, chosen = chooser(), dict[str, list[int | None]]()
    for method in calls:
        chosen.setdefault(method, []).append(one.in_turn(method, (0, 1)))
    for turns in chosen.values():
        assert turns == [number % 2 for number in range(len(turns))]


@given(st.integers(2, 8))
def test_by_lot_nobody_is_left_out_and_nobody_gets_most(size: int) -> None:
    one, known = chooser(), list(range(size))
    counts = Counter(one.by_lot(known) for _ in range(200 * size))
    assert min(counts[each] for each in known) > 100
    assert max(counts.values()) < 300


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 5), min_size=1))
def test_least_pending_is_one_of_those_that_the_fewest_wait_for(waiting: dict[int, int]) -> None:
    one, known = chooser(waiting), sorted(waiting)
    fewest = [each for each in known if waiting[each] == min(waiting.values())]
    chosen = [one.least_pending("add", known) for _ in range(2 * len(fewest))]
    assert sorted(each for each in chosen if each is not None) == sorted(fewest * 2)


def test_of_nobody_nobody_is_chosen() -> None:
    one = chooser()
    assert (one.in_turn("a", ()), one.by_lot(()), one.least_pending("a", ())) == (None, None, None)


def test_turns_of_methods_without_end_are_not_all_remembered() -> None:
    one = chooser()
    for number in range(10_000):
        one.in_turn(f"m{number}", (1, 2))
    assert len(one._turns) <= 4096
