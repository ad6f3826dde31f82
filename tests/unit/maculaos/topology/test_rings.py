"""The wanted graph: symmetric, of exactly the degree asked for, connected, the same for all."""

from __future__ import annotations

import hashlib
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.topology.measure import measure
from maculaos.topology.rings import Rings

Link = tuple[NodeId, NodeId]


def members(count: int, seed: int = 0) -> list[NodeId]:
    return [NodeId(hashlib.sha256(f"{seed}/{each}".encode()).digest()) for each in range(count)]


def links(rings: Rings) -> set[Link]:
    graph = rings.adjacency()
    return {(one, other) for one, near in graph.items() for other in near if one < other}


@given(
    st.integers(1, 32).map(lambda half: 2 * half), st.integers(0, 160), st.integers(0, 1_000_000)
)
def test_graph_is_symmetric_connected_and_of_exactly_the_degree(
    degree: int, count: int, seed: int
) -> None:
    graph = Rings("home", degree, members(count, seed)).adjacency()
    assert all(node in graph[other] for node, near in graph.items() for other in near)
    assert all(node not in near for node, near in graph.items())
    assert {len(near) for near in graph.values()} <= {max(0, min(degree, count - 1))}
    assert measure(graph).is_connected


@pytest.mark.parametrize("degree", [2, 4, 6, 8])
def test_law_holds_for_every_small_number_of_members(degree: int) -> None:
    for count in range(1, 5 * degree):
        found = measure(Rings("home", degree, members(count)).adjacency())
        assert found.degrees == {min(degree, count - 1): count}
        assert found.is_connected
        if count <= 2 * degree:
            assert found.diameter <= 2


@given(
    st.sampled_from([2, 4, 6, 10]),
    st.lists(st.tuples(st.booleans(), st.integers(0, 59)), max_size=120),
    st.randoms(use_true_random=False),
)
def test_graph_follows_from_the_members_and_not_from_what_happened(
    degree: int, events: list[tuple[bool, int]], rng: random.Random
) -> None:
    everybody = members(60)
    rings = Rings("home", degree)
    left: set[NodeId] = set()
    for is_join, which in events:
        node = everybody[which]
        if is_join:
            assert rings.add(node) is (node not in left)
            left.add(node)
        else:
            assert rings.discard(node) is (node in left)
            left.discard(node)
        if rng.random() < 0.3:
            rings.neighbours(node)
    assert rings.adjacency() == Rings("home", degree, sorted(left)).adjacency()


def test_incremental_upkeep_agrees_with_a_fresh_start_at_every_step() -> None:
    rng = random.Random(5)
    everybody = members(140)
    rings, here = Rings("home", 6, everybody[:40]), dict.fromkeys(everybody[:40])
    for _ in range(400):
        node = rng.choice(everybody)
        if node in here:
            rings.discard(node)
            del here[node]
        else:
            rings.add(node)
            here[node] = None
        assert links(rings) == links(Rings("home", 6, here))


@pytest.mark.parametrize(
    ("count", "mean_max", "most"), [(25, 18, 40), (100, 11, 20), (500, 10, 15)]
)
def test_join_changes_links_in_proportion_to_the_degree(
    count: int, mean_max: float, most: int
) -> None:
    """At least 9 links change at degree 6: a new node takes 6, and 3 between others go."""
    changed = []
    for seed in range(30):
        everybody = members(count + 1, seed)
        rings = Rings("home", 6, everybody[:-1])
        before = links(rings)
        rings.add(everybody[-1])
        changed.append(len(before ^ links(rings)))
    assert min(changed) >= 9
    assert sum(changed) / len(changed) <= mean_max
    assert max(changed) <= most


@pytest.mark.parametrize(("count", "most"), [(25, 3), (100, 5), (1000, 7)])
def test_diameter_grows_as_the_logarithm(count: int, most: int) -> None:
    for seed in range(5):
        found = measure(Rings("home", 6, members(count, seed)).adjacency())
        assert found.diameter <= most <= math.log2(count)
        assert found.articulation_points == ()


def test_realms_and_rings_order_the_same_nodes_differently() -> None:
    everybody = members(50)
    assert links(Rings("home", 6, everybody)) != links(Rings("work", 6, everybody))
    assert links(Rings("home", 2, everybody)) < links(Rings("home", 6, everybody))


@given(st.integers(10, 120), st.integers(1, 3), st.integers(0, 1000))
def test_views_that_differ_by_few_members_agree_on_almost_all_links(
    count: int, missing: int, seed: int
) -> None:
    everybody = members(count, seed)
    one, other = Rings("home", 6, everybody), Rings("home", 6, everybody[missing:])
    for node in everybody[:missing]:
        other.add(node)
    assert links(one) == links(other)


def test_a_stranger_has_no_neighbours_and_beyond_leads_around_the_ring() -> None:
    everybody = members(30)
    rings = Rings("home", 6, everybody[1:])
    assert rings.neighbours(everybody[0]) == ()
    node = everybody[1]
    for neighbour, side in rings.sides(node).items():
        beyond = list(rings.beyond(neighbour, side))
        assert sorted([*beyond, neighbour]) == sorted(everybody[1:])


@pytest.mark.parametrize("degree", [0, 1, 7, 66, -2])
def test_a_degree_that_rings_cannot_make_is_refused(degree: int) -> None:
    with pytest.raises(ValueError, match="degree must be even"):
        Rings("home", degree)
