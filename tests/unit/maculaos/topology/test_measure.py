"""Measures of a graph agree with what a slow look at every way finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.topology.measure import measure

Graph = dict[int, set[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    count = draw(st.integers(1, 12))
    graph: Graph = {node: set() for node in range(count)}
    for one, other in draw(st.lists(st.tuples(*[st.integers(0, count - 1)] * 2))):
        if one != other:
            graph[one].add(other)
            graph[other].add(one)
    return graph


def distances(graph: Graph, start: int, without: int | None = None) -> dict[int, int]:
    found, edge = {start: 0}, {start}
    while edge:
        edge = {other for node in edge for other in graph[node]} - found.keys() - {without}
        found |= dict.fromkeys(edge, max(found.values()) + 1)
    return found


@given(graphs())
def test_diameter_and_parts_are_those_of_the_shortest_ways(graph: Graph) -> None:
    found = measure(graph)
    ways = [distances(graph, node) for node in graph]
    assert found.diameter == max(max(way.values()) for way in ways)
    assert len(found.parts) == len({tuple(sorted(way)) for way in ways})
    assert sum(found.parts) == found.nodes == len(graph)
    assert found.is_connected is (len(ways[0]) == len(graph))
    assert found.links == sum(map(len, graph.values())) // 2
    assert sum(found.degrees.values()) == len(graph)


@given(graphs())
def test_articulation_points_are_those_whose_loss_cuts_a_part(graph: Graph) -> None:
    cutting = set()
    for lost in graph:
        part = distances(graph, lost).keys() - {lost}
        if part and len(distances(graph, min(part), without=lost)) < len(part):
            cutting.add(lost)
    assert set(measure(graph).articulation_points) == cutting


@given(graphs())
def test_sampled_diameter_is_a_lower_bound_and_says_so(graph: Graph) -> None:
    sampled, exact = measure(graph, exact_up_to=0), measure(graph)
    assert sampled.diameter <= exact.diameter
    assert not sampled.is_exact
    assert "or more" in sampled.in_words()
    assert "or more" not in exact.in_words()


def test_words_name_what_matters() -> None:
    chain = {0: {1}, 1: {0, 2}, 2: {1}, 3: set()}
    assert measure(chain).in_words() == (
        "4 nodes, 2 links, degree 0 to 2, diameter 2, in 2 parts, 1 whose loss cuts it"
    )
    assert measure({0: {1}, 1: {0}}).to_dict() == {
        "nodes": 2, "links": 1, "degrees": {"1": 2}, "parts": [2], "diameter": 1,
        "diameter_is_exact": True, "articulation_points": 0,
    }  # fmt: skip


def test_nothing_at_all_can_be_measured() -> None:
    assert measure({}).is_connected
