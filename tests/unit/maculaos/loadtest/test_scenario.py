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


@pytest.mark.parametrize(
    "faults",
    [
        ("kill:n2@1", "kill:n2@5"),
        ("kill:n2@4", "kill:n2@1+3"),
        ("kill:n1@1+3", "kill:n1@2+3"),
        ("kill:n2@2", "pause:n2@4+3"),
        ("pause:n2@1+3", "kill:n2@2"),
        ("kill:n2@2+3", "loss:n2:10%@4+3"),
        ("pause:n2@1+3", "pause:n2@2+1"),
        ("loss:n2:10%@1+4", "loss:n2:100%@2+1"),
        ("loss:n2:10%@1+1", "loss:n2:20%@2+1"),
    ],
)
def test_faults_of_one_node_that_disturb_each_other_are_refused(faults: tuple[str, str]) -> None:
    for order in (faults, faults[::-1]):
        with pytest.raises(UsageError, match="overlap"):
            Scenario(faults=tuple(map(read_fault, order)))


@pytest.mark.parametrize(
    "faults",
    [
        ("kill:n1@1", "kill:n2@1"),
        ("kill:n2@1+2", "kill:n2@3.5"),
        ("pause:n2@1+3", "loss:n2:10%@2+1"),
        ("loss:n1:10%@1+3", "loss:n2:10%@2+3"),
    ],
)
def test_faults_that_do_not_touch_each_other_may_be_on_together(faults: tuple[str, str]) -> None:
    assert len(Scenario(faults=tuple(map(read_fault, faults))).faults) == 2
