"""Streams: in order and bounded, whatever overtakes what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.streams import HELD_BYTES, MAX_CREDIT, Stream, StreamBroken


@given(st.integers(0, 30).flatmap(lambda count: st.permutations(range(1, count + 2))))
def test_results_that_overtake_each_other_are_put_in_order(order: list[int]) -> None:
    stream, handed_on = Stream(credit=len(order)), list[object]()
    for index in order:
        handed_on += stream.take(index, index, 10, is_last=index == len(order))
    assert handed_on == sorted(order)
    assert (stream.held, stream.held_bytes) == ({}, 0)


@given(st.integers(0, 20), st.integers(0, 40))
def test_no_more_results_come_than_were_granted_but_the_last_always_may(
    credit: int, count: int
) -> None:
    stream = Stream(credit)
    taken = 0
    try:
        for number in range(count):
            taken += len(stream.take(0, number, 1, is_last=False))
    except StreamBroken:
        assert count > credit
    assert taken == min(credit, count)
    if count <= credit:
        assert stream.take(0, "last", 1, is_last=True) == ["last"]


@given(st.lists(st.integers(-5, 2 * MAX_CREDIT), max_size=20))
def test_what_is_granted_at_once_is_bounded(grants: list[int]) -> None:
    stream = Stream(0)
    granted = [stream.grant(credit) for credit in grants]
    assert all(each >= 0 for each in granted)
    assert stream.credit == sum(granted) <= MAX_CREDIT


@pytest.mark.parametrize("index", [1, 3, 2 + MAX_CREDIT + 2, -4])
def test_result_that_came_before_or_lies_too_far_ahead_breaks_the_stream(index: int) -> None:
    stream = Stream(100)
    stream.take(1, "one", 1, is_last=False)
    stream.take(3, "three", 1, is_last=False)
    with pytest.raises(StreamBroken):
        stream.take(index, "again", 1, is_last=False)


def test_too_much_that_waits_breaks_the_stream() -> None:
    stream = Stream(100)
    stream.take(2, "two", HELD_BYTES, is_last=False)
    with pytest.raises(StreamBroken):
        stream.take(3, "three", 1, is_last=False)


def test_what_is_handed_on_is_numbered_from_one() -> None:
    stream = Stream(5)
    assert [stream.next_index() for _ in range(3)] == [1, 2, 3]
