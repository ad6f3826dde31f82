"""The timeline: everything is counted once, in its second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.timeline import Timeline


@given(st.lists(st.tuples(st.floats(-1, 100), st.integers(0, 10**6)), max_size=100))
def test_total_holds_what_the_seconds_hold(came: list[tuple[float, int]]) -> None:
    line = Timeline(10)
    for at_s, took_us in came:
        line.at(at_s).delivered.record(took_us)
    assert line.total().count == len(came)
    for number, second in enumerate(line.seconds[:-1]):
        there = [at_s for at_s, _ in came if min(max(0, int(at_s)), 9) == number]
        assert second.delivered.count == len(there)


def test_quiet_seconds_at_the_end_are_left_out() -> None:
    line = Timeline(10)
    assert line.used() == ()
    line.at(2.5).published += 1
    assert len(line.used()) == 3
