"""The timeline: everything is counted once, in its part, and there are never many parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.timeline import Timeline


@given(
    st.floats(0.1, 86_400),
    st.lists(st.tuples(st.floats(-1, 100_000), st.integers(0, 10**6)), max_size=50),
)
def test_total_holds_what_the_parts_hold(duration_s: float, came: list[tuple[float, int]]) -> None:
    line = Timeline(duration_s)
    for at_s, took_us in came:
        line.at(at_s).delivered.record(took_us)
    assert line.total().count == sum(each.delivered.count for each in line.slots) == len(came)
    assert len(line.slots) <= 400
    assert (line.slots[-1].delivered.count > 0) if came else line.slots == ()


@given(st.floats(0.1, 86_400), st.floats(0, 86_400))
def test_a_moment_of_the_run_is_in_the_part_around_it(duration_s: float, share: float) -> None:
    at_s = duration_s * share / 86_400
    line = Timeline(duration_s)
    line.at(at_s).published += 1
    begins_s = (len(line.slots) - 1) * line.slot_s
    assert begins_s <= at_s < begins_s + line.slot_s


@given(st.lists(st.floats(0, 20), max_size=5), st.floats(-1, 20))
def test_to_look_at_a_part_makes_none(counted: list[float], at_s: float) -> None:
    line = Timeline(10)
    for each in counted:
        line.at(each).published += 1
    before = len(line.slots)
    seen = line.seen(at_s)
    assert len(line.slots) == before
    assert seen.published == line.at(at_s).published


def test_short_runs_are_shown_finely() -> None:
    assert [Timeline(each).slot_s for each in (5, 60, 100, 600, 3600)] == [0.5, 0.5, 1, 5, 30]
