"""The order of SRV targets (RFC 2782)."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.srv import Target, ordered

targets = st.lists(
    st.builds(
        Target,
        st.integers(0, 3),
        st.integers(0, 65_535),
        st.sampled_from(["", "a.example", "b.example"]),
        st.integers(0, 3),
    ),
    max_size=12,
)


@given(targets, st.integers(0, 1000))
def test_every_usable_target_comes_once_and_priorities_ascend(
    said: list[Target], seed: int
) -> None:
    found = ordered(said, random.Random(seed))
    assert Counter(found) == Counter(each for each in said if each.host and each.port)
    assert [each.priority for each in found] == sorted(each.priority for each in found)


def test_a_target_is_first_as_often_as_its_weight_says() -> None:
    said = [Target(1, 60, "a", 1), Target(1, 30, "b", 1), Target(1, 10, "c", 1)]
    rng = random.Random(5)
    first = Counter(ordered(said, rng)[0].host for _ in range(3000))
    assert 1650 < first["a"] < 1950
    assert 780 < first["b"] < 1020
    assert 220 < first["c"] < 380


def test_weight_0_is_drawn_at_times() -> None:
    said = [Target(1, 3, "a", 1), Target(1, 0, "b", 1)]
    rng = random.Random(5)
    first = Counter(ordered(said, rng)[0].host for _ in range(200))
    assert 0 < first["b"] < first["a"]
