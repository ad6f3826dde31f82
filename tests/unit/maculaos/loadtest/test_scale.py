"""Scales: everything between the ends has a place, and what is written is nice to read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.scale import linear, logarithmic, written

positive = st.floats(1e-3, 1e9)


@given(positive, positive)
def test_logarithmic_scale_holds_both_ends_and_rises(one: float, other: float) -> None:
    low, high = sorted((one, other))
    scale = logarithmic(low, high)
    assert scale.low <= low * 1.001
    assert scale.high >= high * 0.999
    assert 0 <= scale.place(low) <= scale.place(high) <= 1
    assert scale.high / scale.low <= max(100, 30 * high / low)


@given(positive)
def test_linear_scale_begins_at_zero_and_holds_its_highest(highest: float) -> None:
    scale = linear(highest)
    assert scale.place(0) == 0
    assert highest <= scale.high * 1.000_001
    assert scale.high <= 2 * highest


@given(positive, positive)
def test_ticks_rise_within_the_scale_and_are_few(one: float, other: float) -> None:
    low, high = sorted((one, other))
    for scale in (linear(high), logarithmic(low, high)):
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 16
        assert ticks == sorted(set(ticks))
        assert all(0 <= scale.place(each) <= 1 for each in ticks)


def test_a_scale_of_nothing_still_has_room() -> None:
    assert linear(0).high > 0
    assert logarithmic(0, 0).high > logarithmic(0, 0).low


def test_values_are_written_short() -> None:
    assert [written(each) for each in (0.05, 5, 500, 5000, 2.5e6)] == [
        "0.05", "5", "500", "5 k", "2.5 M",
    ]  # fmt: skip
