"""Scenarios: what cannot be run is refused, and everybody has a place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.errors import UsageError
from maculaos.loadtest.faults import read_fault
from maculaos.loadtest.scenario import Scenario

few = st.integers(1, 12)


@given(few, few, few, few)
def test_each_subscriber_hears_exactly_the_publishers_of_its_topic(
    nodes: int, publishers: int, subscribers: int, topics: int
) -> None:
    topics = min(topics, publishers, subscribers)
    scenario = Scenario(
        nodes=nodes, publishers=publishers, subscribers=subscribers, topics=topics, rate=10
    )
    listens = scenario.listens()
    assert len(listens) == publishers
    for publisher, heard_by in enumerate(listens):
        assert heard_by
        assert {each % topics for each in heard_by} == {publisher % topics}
    assert all(0 <= scenario.publisher_place(each) < nodes for each in range(publishers))
    assert all(0 <= scenario.subscriber_place(each) < nodes for each in range(subscribers))


def test_one_publisher_and_one_subscriber_are_at_two_nodes() -> None:
    scenario = Scenario(nodes=2)
    assert scenario.publisher_place(0) != scenario.subscriber_place(0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"nodes": 0}, "nodes"),
        ({"size": 4}, "size"),
        ({"topics": 2}, "topics"),
        ({"rate": -1.0}, "rate"),
        ({"duration_s": 0.0}, "duration"),
        ({"rate": 1e6, "duration_s": 3600.0}, "too many"),
        ({"faults": (read_fault("kill:n9@1"),)}, "n9"),
        ({"faults": (read_fault("kill:n1@11"),)}, "not over"),
        ({"faults": (read_fault("pause:n1@9+2"),)}, "not over"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Scenario(**changes)
