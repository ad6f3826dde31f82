"""Profiles and formulas of the membership settings."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.documents import read_document
from maculaos.settings import SwimSettings


@pytest.mark.parametrize(
    ("profile", "interval_s", "timeout_s"),
    [("lan", 1.0, 0.5), ("wan", 5.0, 3.0), ("local", 1, 0.2)],
)
def test_a_profile_sets_what_is_not_set(profile: str, interval_s: float, timeout_s: float) -> None:
    text = f"profile: {profile}\ngossip_fanout: 7\n"
    read = read_document(text.encode(), "swim.yaml", SwimSettings).value
    assert (read.probe_interval_s, read.probe_timeout_s) == (interval_s, timeout_s)
    assert read.gossip_fanout == 7
    assert all(getattr(read, each.name) is not None for each in fields(read))


def test_a_timeout_longer_than_the_interval_of_the_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="below probe_interval_s"):
        SwimSettings(profile="lan", probe_timeout_s=2.0)
    assert SwimSettings(profile="wan", probe_timeout_s=2.0).probe_timeout_s == 2.0


@pytest.mark.parametrize(("members", "factor"), [(1, 1), (32, 1), (33, 2), (64, 2), (1000, 6)])
def test_views_are_compared_less_often_in_large_realms(members: int, factor: int) -> None:
    settings = SwimSettings()
    assert settings.push_pull_s(members) == factor * settings.push_pull_interval_s


@given(st.integers(1, 100_000))
def test_times_and_budgets_grow_with_the_realm(members: int) -> None:
    settings = SwimSettings()
    assert settings.suspicion_timeout_s(members) <= settings.suspicion_timeout_s(members + 1)
    assert settings.suspicion_timeout_s(members) <= settings.longest_suspicion_s(members)
    assert settings.retransmits(members) <= settings.retransmits(members + 1)
