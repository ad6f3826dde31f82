"""Faults: read as written, and blamed for what they can have done."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from maculaos.loadtest.faults import Fault, Kind, blamed, read_fault

tenths = st.integers(0, 600).map(lambda number: number / 10)
lengths = st.integers(1, 600).map(lambda number: number / 10)
faults = st.one_of(
    st.builds(Fault, st.just(Kind.KILL), st.just("n2"), tenths, lengths | st.just(math.inf)),
    st.builds(Fault, st.just(Kind.PAUSE), st.just("n2"), tenths, lengths),
    st.builds(
        Fault,
        st.just(Kind.LOSS),
        st.just("n-3"),
        tenths,
        lengths,
        st.integers(1, 100).map(lambda percent: percent / 100),
    ),
)


@given(faults)
def test_what_is_written_is_read_again(fault: Fault) -> None:
    assert read_fault(str(fault)) == fault


@pytest.mark.parametrize(
    "text",
    ["", "kill", "kill:n2", "kill@5", "stop:n2@5", "pause:n2@5", "loss:n2@5+3", "loss:n2:101%@5+3",
     "kill:n2:10%@5", "kill:n2@-1", "kill:N2@5", "loss:n2:5%@5"],
)  # fmt: skip
def test_what_is_no_fault_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError, match="kill:n2@5"):
        read_fault(text)


@given(st.lists(faults, max_size=5), tenths)
def test_blame_falls_only_on_a_fault_that_is_near(every: list[Fault], at_s: float) -> None:
    found = blamed(every, at_s, 2.0)
    near = [one for one in every if one.at_s - 2.0 <= at_s <= one.until_s + 2.0]
    assert (found is None) == (not near)
    assert found is None or found in near


def test_the_last_fault_that_began_is_blamed() -> None:
    early, late = read_fault("kill:n2@5+10"), read_fault("pause:n3@8+1")
    assert blamed([late, early], 7.0, 2.0) is early
    assert blamed([late, early], 9.5, 2.0) is late
    assert blamed([late, early], 12.0, 2.0) is early
    assert blamed([late, early], 4.0, 2.0) is early
    assert blamed([late, early], 2.0, 2.0) is None


def test_a_fault_of_who_is_concerned_comes_before_a_later_one() -> None:
    early, late = read_fault("kill:n2@5+10"), read_fault("pause:n3@8+1")
    assert blamed([late, early], 9.5, 2.0, {"n2"}) is early
    assert blamed([late, early], 9.5, 2.0, {"n4"}) is late
    assert blamed([late], 9.5, 2.0, {"n2"}) is late
