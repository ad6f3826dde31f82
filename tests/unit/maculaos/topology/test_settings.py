"""Topology settings are checked when they are made."""

from __future__ import annotations

import pytest

from maculaos.topology.settings import TopologySettings


def test_defaults_hold() -> None:
    assert TopologySettings().degree == 6


@pytest.mark.parametrize("degree", [0, 3, 66])
def test_degree_is_even_and_bounded(degree: int) -> None:
    with pytest.raises(ValueError, match="even, from 2 to 64"):
        TopologySettings(degree=degree)


def test_longest_wait_is_not_below_the_first() -> None:
    with pytest.raises(ValueError, match="retry_max_s"):
        TopologySettings(retry_base_s=2.0, retry_max_s=1.0)


def test_ceiling_doubles_to_the_longest_wait() -> None:
    settings = TopologySettings()
    ceilings = [settings.retry_ceiling_s(failures) for failures in (0, 1, 4, 5, 10_000)]
    assert ceilings == [1.0, 2.0, 16.0, 30.0, 30.0]
