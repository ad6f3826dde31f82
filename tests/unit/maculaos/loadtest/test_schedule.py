"""Schedules: an open loop whose times follow from the rate alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.schedule import Schedule, spread

rates = st.floats(0.5, 50_000, allow_nan=False)


@given(rates, st.floats(0, 1), st.floats(0, 5), st.floats(0, 10))
def test_due_are_exactly_those_whose_time_has_come(
    rate: float, phase_s: float, duration_s: float, now_s: float
) -> None:
    schedule = Schedule(rate, phase_s, duration_s)
    due = schedule.due(now_s)
    assert 0 <= due <= schedule.total
    if due:
        assert schedule.at_s(due - 1) <= now_s
    if due < schedule.total:
        assert schedule.at_s(due) > now_s


@given(rates, st.integers(1, 20), st.floats(0.5, 5))
def test_spread_makes_the_wished_rate_together(rate: float, many: int, duration_s: float) -> None:
    every = spread(rate, many, duration_s)
    assert abs(sum(each.total for each in every) - rate * duration_s) <= many + 1


@given(st.integers(1, 1000), st.integers(1, 20))
def test_spread_publishers_take_turns(rate: int, many: int) -> None:
    every = spread(rate, many, 2.0)
    first = sorted(each.at_s(0) for each in every)
    assert first == [each.at_s(0) for each in every]
    assert len(set(first)) == many
    assert first[-1] < every[0].at_s(1)


def test_a_stall_makes_everything_that_it_held_up_due_at_once() -> None:
    schedule = Schedule(rate=100.0, phase_s=0.0, duration_s=10.0)
    assert schedule.due(1.0) == 101
    assert schedule.due(3.0) == 301
    assert schedule.due(60.0) == schedule.total == 1000
