"""Allowances: a burst, then a rate, for each member by itself."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.allowance import Allowance

ONE, OTHER = NodeId(b"1" * 32), NodeId(b"2" * 32)


@given(st.lists(st.floats(0.0, 0.5), max_size=100))
def test_no_more_is_taken_than_burst_and_rate_allow(pauses_s: list[float]) -> None:
    allowance, now, taken = Allowance(burst=5, rate=2.0), 0.0, 0
    for pause_s in pauses_s:
        now += pause_s
        taken += allowance.take(ONE, now)
        assert taken <= 5 + 2.0 * now + 1e-6
    assert taken + allowance.refused == len(pauses_s)


def test_one_member_takes_nothing_from_another() -> None:
    allowance = Allowance(burst=1, rate=1.0)
    assert allowance.take(ONE, 0.0)
    assert not allowance.take(ONE, 0.5)
    assert allowance.take(OTHER, 0.5)
    assert allowance.take(ONE, 1.0)
