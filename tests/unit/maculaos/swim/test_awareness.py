"""Awareness: a bounded score, and what follows of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.swim.awareness import Awareness


@given(st.integers(0, 20), st.lists(st.integers(-1, 5), max_size=50))
def test_the_score_stays_within_its_bounds(worst: int, events: list[int]) -> None:
    awareness = Awareness(worst)
    for event in events:
        awareness.improve() if event < 0 else awareness.worsen(event)
        assert 0 <= awareness.score <= worst
        assert awareness.factor == awareness.score + 1


@pytest.mark.parametrize(("failures", "successes", "is_sick"), [(4, 0, 0), (5, 0, 1), (5, 1, 0)])
def test_who_failed_often_is_sick_until_it_succeeds(
    failures: int, successes: int, is_sick: int
) -> None:
    awareness = Awareness(8)
    awareness.worsen(failures)
    for _ in range(successes):
        awareness.improve()
    assert awareness.is_sick == bool(is_sick)


def test_without_a_score_nobody_is_ever_sick() -> None:
    awareness = Awareness(0)
    awareness.worsen(100)
    assert (awareness.factor, awareness.is_sick) == (1, False)
