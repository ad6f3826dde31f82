"""A topology says the same as a value, as a mapping and as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.topology.graph import InvalidTopology, Topology, Vertex, read_topology

vertices = st.builds(Vertex, st.text(), st.text(), st.text(), st.booleans())


@given(st.lists(vertices))
def test_mapping_survives_json_and_keeps_everything_but_the_order_of_the_unlinked(
    others: list[Vertex],
) -> None:
    origin = Vertex("n1", "aa", "alive", is_linked=False)
    shown = sorted(others, key=lambda vertex: not vertex.is_linked)
    topology = Topology(origin, tuple(shown), "home", 8)
    assert read_topology(json.loads(json.dumps(topology.to_dict()))) == topology


def test_text_shows_links_and_missing_links() -> None:
    topology = Topology(
        Vertex("n1", "11" * 32, "alive", is_linked=False),
        (
            Vertex("n2", "22" * 32, "alive", is_linked=True),
            Vertex("n3", "33" * 32, "dead", is_linked=False),
        ),
    )
    assert topology.draw().splitlines() == [
        "n1 (11111111)",
        "├── n2 (22222222) alive",
        "└╌╌ n3 (33333333) dead, no link",
    ]


def test_answer_without_realm_and_degree_is_read() -> None:
    told = {"self": {"name": "a", "node_id": "aa", "health": "alive"}, "neighbours": []}
    topology = read_topology({**told, "unlinked": []})
    assert (topology.realm, topology.degree) == ("", 6)
    assert topology.wanted() == {}
    with pytest.raises(InvalidTopology):
        read_topology({**told, "unlinked": [], "degree": 7})


@pytest.mark.parametrize("described", [{}, {"self": {}, "neighbours": [], "unlinked": []}])
def test_another_mapping_is_refused(described: dict[str, object]) -> None:
    with pytest.raises(InvalidTopology):
        read_topology(described)
