"""Circles are found with all that lie in them, and what is left has an order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.specs.dependencies import circles, layers, order, spoken_circle
from reconciler.specs.items import made_item
from reconciler.specs.spec import AppSpec, Listen, NodeSpec

names = st.sampled_from("abcdef")
graphs = st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=6)


def _reached(graph: dict[str, tuple[str, ...]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for each in graph.get(waiting.pop(), ()):
            if each in graph and each not in found:
                found.add(each)
                waiting.append(each)
    return found


@given(graphs)
def test_exactly_those_that_reach_themselves_are_in_circles(
    graph: dict[str, tuple[str, ...]],
) -> None:
    ways = circles(graph)
    assert {name for way in ways for name in way} == {n for n in graph if n in _reached(graph, n)}
    for way in ways:
        assert all(b in graph[a] for a, b in zip(way, (*way[1:], way[0]), strict=True))


@given(graphs, st.randoms())
def test_order_of_names_does_not_matter(graph: dict[str, tuple[str, ...]], random: object) -> None:
    shuffled = list(graph.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert circles(dict(shuffled)) == circles(graph)
    assert layers(dict(shuffled)) == layers(graph)


@given(graphs)
def test_layers_hold_every_name_once_and_needs_come_first(
    graph: dict[str, tuple[str, ...]],
) -> None:
    made = layers(graph)
    assert sorted(name for layer in made for name in layer) == sorted(graph)
    if not circles(graph):
        at = {name: depth for depth, layer in enumerate(made) for name in layer}
        assert all(at[n] < at[name] for name in graph for n in graph[name] if n in graph)


def test_circle_is_spoken_from_its_first_name() -> None:
    (way,) = circles({"b": ("c",), "c": ("a",), "a": ("b",), "d": ("a",)})
    assert spoken_circle(way) == "a -> b -> c -> a"
    assert [spoken_circle(way) for way in circles({"a": ("a",)})] == ["a -> a"]


def test_nodes_start_before_their_apps() -> None:
    listen = Listen(address="127.0.0.1", port=1)
    specs = (
        AppSpec(version=1, name="a", node="n", command=("x",), depends_on=("b", "gone")),
        AppSpec(version=1, name="b", node="n", command=("x",)),
        NodeSpec(version=1, name="n", realm="demo", listen=listen),
    )
    items = {item.key: item for item in (made_item(spec, "demo") for spec in specs)}
    assert order(items) == (("node/n",), ("app/b",), ("app/a",))
