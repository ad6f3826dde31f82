"""Latencies: percentiles close to the exact ones, in bounded room."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from maculaos.loadtest.latencies import LONGEST_US, Latencies

times = st.lists(st.integers(0, LONGEST_US), min_size=1, max_size=300)


def seen(values: list[int]) -> Latencies:
    recorded = Latencies()
    for value in values:
        recorded.record(value)
    return recorded


@given(times, st.floats(0.001, 1))
def test_percentile_is_the_nearest_rank_and_at_most_one_per_cent_above(
    values: list[int], share: float
) -> None:
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    told = seen(values).percentile_us(share)
    assert exact <= told <= exact * 1.01


@given(times)
def test_count_mean_and_ends_are_exact(values: list[int]) -> None:
    recorded = seen(values)
    assert (recorded.count, recorded.lowest_us, recorded.highest_us) == (
        len(values),
        min(values),
        max(values),
    )
    assert math.isclose(recorded.mean_us, sum(values) / len(values))
    assert recorded.percentile_us(1) == max(values)


@given(st.lists(times, max_size=4))
def test_merge_counts_as_if_one_had_seen_all(parts: list[list[int]]) -> None:
    merged = Latencies().merge(map(seen, parts))
    whole = seen([value for part in parts for value in part])
    assert merged.to_dict() == whole.to_dict()
    assert list(merged.steps()) == list(whole.steps())


@given(times)
def test_steps_hold_every_value_once_and_rise(values: list[int]) -> None:
    steps = list(seen(values).steps())
    assert sum(count for _, _, count in steps) == len(values)
    for low, high, count in steps:
        assert count == sum(low <= value <= high for value in values)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(steps))


def test_whole_range_fits_few_buckets() -> None:
    recorded = seen([1 << bit for bit in range(40)])
    assert recorded.highest_us == LONGEST_US
    assert len(list(recorded.steps())) <= 33


def test_of_nothing_everything_is_zero() -> None:
    assert set(Latencies().to_dict().values()) == {0}
