"""Laws of the search for the size of datagrams (RFC 8899)."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.path_size import BASE_SIZE, RUNGS, PathSize

TIMEOUT_S = 0.1


def climb(path: PathSize, carries: int, now: float = 0.0) -> float:
    """Answer every probe that the path carries, until the search rests; return the time then."""
    path.begin(now)
    while path.next_deadline() <= now + 1.0:
        now = max(now, path.next_deadline())
        path.advance(now)
        size = path.probe_due(now)
        if size is None:
            continue
        path.probe_sent(size, now, TIMEOUT_S)
        if size <= carries:
            path.probe_answered(size, now)
    return now


@given(carries=st.integers(BASE_SIZE, 70_000))
def test_search_ends_at_the_largest_rung_that_the_path_carries(carries: int) -> None:
    path = PathSize()
    climb(path, carries)
    assert path.size == max(rung for rung in RUNGS if rung <= carries)


def test_nothing_is_probed_before_the_connection_may() -> None:
    path = PathSize()
    assert path.next_deadline() == math.inf
    assert path.probe_due(1e9) is None
    path.moved(5.0)
    assert path.probe_due(1e9) is None


def test_probe_is_lost_three_times_before_the_search_rests() -> None:
    path = PathSize()
    path.begin(0.0)
    for attempt in range(3):
        assert path.probe_due(attempt * TIMEOUT_S) == RUNGS[1]
        path.probe_sent(RUNGS[1], attempt * TIMEOUT_S, TIMEOUT_S)
        assert path.probe_due(attempt * TIMEOUT_S) is None
        path.advance((attempt + 1) * TIMEOUT_S)
    assert path.probe_due(1.0) is None
    assert path.size == BASE_SIZE


def test_search_goes_on_after_its_rest() -> None:
    path = PathSize()
    now = climb(path, 1452)
    assert path.next_deadline() == now + 600.0
    climb(path, 9000, now + 600.0)
    assert path.size == 8952


def test_size_that_the_system_refuses_is_not_tried_again_at_once() -> None:
    path = PathSize()
    path.begin(0.0)
    path.probe_sent(RUNGS[1], 0.0, TIMEOUT_S)
    path.refused(RUNGS[1], 0.0)
    assert path.probe_due(599.0) is None
    assert path.probe_due(600.0) == RUNGS[1]


def test_held_size_that_the_system_refuses_is_given_up() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    path.refused(RUNGS[-1], now)
    assert path.size == BASE_SIZE


def test_late_answer_to_a_probe_given_up_tells_nothing() -> None:
    path = PathSize()
    path.begin(0.0)
    path.probe_sent(RUNGS[1], 0.0, TIMEOUT_S)
    path.advance(TIMEOUT_S)
    path.probe_answered(RUNGS[1], TIMEOUT_S)
    assert path.size == BASE_SIZE


def test_three_losses_in_a_row_are_a_black_hole_and_the_rests_grow() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for rest_s in (1.0, 2.0, 4.0):
        for _ in range(3):
            assert path.size == RUNGS[-1]
            path.lost(RUNGS[-1])
        path.advance(now)
        assert path.size == BASE_SIZE
        assert path.next_deadline() == now + rest_s
        now = climb(path, 70_000, now + rest_s)
    assert path.black_holes == 3


def test_rests_are_short_again_after_a_size_has_held() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for _ in range(4):
        now += 600.0
        for _ in range(3):
            path.lost(RUNGS[-1])
        path.advance(now)
        assert path.next_deadline() == now + 1.0
        now = climb(path, 70_000, now + 1.0)


def test_silence_is_no_black_hole() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for _ in range(9):
        path.expired(RUNGS[-1])
    path.arrived(RUNGS[-1])
    path.arrived(BASE_SIZE)
    path.advance(now)
    assert path.size == RUNGS[-1]


def test_what_nobody_answered_counts_once_something_small_arrives() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for _ in range(3):
        path.advance(now)
        assert path.black_holes == 0
        path.expired(RUNGS[-1])
        path.expired(RUNGS[-1])
        path.arrived(BASE_SIZE)
    path.advance(now)
    assert path.black_holes == 1


@given(
    sizes=st.lists(st.sampled_from(RUNGS), max_size=40),
)
def test_full_datagram_that_arrives_forgives_all_losses(sizes: list[int]) -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for size in sizes:
        for _ in range(2):
            path.lost(size)
        path.arrived(RUNGS[-1])
        path.advance(now)
    assert path.size == RUNGS[-1]


def test_small_packets_say_nothing_of_the_large_ones() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    for _ in range(3):
        path.lost(RUNGS[-1])
        path.arrived(BASE_SIZE)
    for _ in range(9):
        path.lost(BASE_SIZE)
    path.advance(now)
    assert path.black_holes == 1


def test_another_path_starts_from_the_bottom_at_once() -> None:
    path = PathSize()
    now = climb(path, 70_000)
    path.moved(now)
    assert path.size == BASE_SIZE
    assert path.probe_due(now) == RUNGS[1]


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("answered"), st.sampled_from(RUNGS)),
            st.tuples(st.just("lost"), st.sampled_from(RUNGS)),
            st.tuples(st.just("refused"), st.sampled_from(RUNGS)),
            st.tuples(st.just("wait"), st.integers(0, 1000)),
            st.tuples(st.just("moved"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_size_only_rises_to_what_was_answered(steps: list[tuple[str, int]]) -> None:
    path, now = PathSize(), 0.0
    path.begin(now)
    for what, value in steps:
        before, probe = path.size, path.probe_due(now)
        if probe is not None:
            path.probe_sent(probe, now, TIMEOUT_S)
        match what:
            case "answered":
                path.probe_answered(value, now)
            case "lost":
                path.lost(value)
            case "refused":
                path.refused(value, now)
            case "moved":
                path.moved(now)
            case _:
                now += value
        path.advance(now)
        assert path.size in RUNGS
        assert path.size <= before or (what == "answered" and path.size == value)
