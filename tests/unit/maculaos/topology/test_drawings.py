"""Drawings show every node and link once, and no name breaks out of its quotes."""

from __future__ import annotations

import hashlib
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.topology.dot import to_dot
from maculaos.topology.graph import InvalidTopology, Topology, Vertex
from maculaos.topology.mermaid import EDGES_MAX, to_mermaid
from maculaos.topology.picture import State, picture_of
from maculaos.topology.svg import to_svg

SVG = "{http://www.w3.org/2000/svg}"


def vertex(
    number: int, name: str = "", health: str = "alive", *, is_linked: bool = False
) -> Vertex:
    node_id = hashlib.sha256(str(number).encode()).hexdigest()
    return Vertex(name or f"n{number}", node_id, health, is_linked)


def mesh(count: int, name: str = "", realm: str = "home") -> Topology:
    """A node of ``count`` that has linked all its wanted neighbours but one, and one more."""
    nodes = [vertex(0, name), *(vertex(each) for each in range(1, count))]
    wanted = Topology(nodes[0], tuple(nodes[1:]), "home").wanted()[nodes[0].node_id]
    extra = next((each.node_id for each in nodes[1:] if each.node_id not in wanted), "")
    up = {*wanted[1:], extra}
    others = tuple(
        Vertex(each.name, each.node_id, each.health, each.node_id in up) for each in nodes[1:]
    )
    return Topology(nodes[0], (*others, vertex(count, health="dead")), realm)


def test_picture_tells_links_that_are_up_down_and_unwanted_apart() -> None:
    picture = picture_of(mesh(25))
    states = [edge.state for edge in picture.edges]
    assert [states.count(state) for state in State] == [75 - 6, 1, 5, 1]
    assert len({frozenset((edge.one, edge.other)) for edge in picture.edges}) == len(states)
    assert (len(picture.nodes), picture.on_ring) == (26, 25)
    assert picture.nodes[0].name == "n0"
    assert picture.nodes[-1].health == "dead"


def test_another_degree_draws_another_graph() -> None:
    assert picture_of(mesh(25), 2).caption.startswith("25 nodes, 25 links, degree 2")


def test_without_a_realm_only_own_links_are_drawn() -> None:
    picture = picture_of(mesh(25, realm=""))
    assert {edge.state for edge in picture.edges} == {State.UP}
    assert picture.caption == "26 nodes, 6 own links"


def test_node_id_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidTopology, match="hex"):
        Topology(Vertex("a", "xyz", "alive", is_linked=False), (), "home").wanted()


@pytest.mark.parametrize("count", [1, 2, 3, 25, 100, 300])
def test_svg_shows_every_node_and_link_within_its_frame(count: int) -> None:
    picture = picture_of(mesh(count))
    root = ET.fromstring(to_svg(picture))  # noqa: S314  # made here
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    dots = [each for each in root.iter(f"{SVG}circle") if each.find(f"{SVG}title") is not None]
    assert len(dots) == len(picture.nodes)
    assert len([each for each in root.iter(f"{SVG}path") if "Q" in each.attrib["d"]]) == len(
        picture.edges
    )
    assert all(0 < float(dot.attrib["cx"]) < width for dot in dots)
    assert all(0 < float(dot.attrib["cy"]) < height for dot in dots)


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_svg(name: str) -> None:
    root = ET.fromstring(to_svg(picture_of(mesh(4, name))))  # noqa: S314  # made here
    plain = "".join(each if each.isprintable() else "?" for each in name)
    titles = ["".join(each.itertext()) for each in root.iter(f"{SVG}title")]
    assert f"The mesh as {plain} knows it" in titles
    assert {each.tag for each in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "title", "rect", "text", "path", "circle")
    }


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_dot(name: str) -> None:
    text = to_dot(picture_of(mesh(4, name)))
    without_strings = re.sub(r'"(?:[^"\\]|\\.)*"', "S", text)
    assert without_strings == re.sub(
        r'"(?:[^"\\]|\\.)*"', "S", to_dot(picture_of(mesh(4, "plain")))
    )


@given(st.text(min_size=1))
def test_no_name_breaks_out_of_mermaid(name: str) -> None:
    lines = to_mermaid(picture_of(mesh(4, name))).splitlines()
    plain = to_mermaid(picture_of(mesh(4, "plain"))).splitlines()
    assert [each for each in lines if "n0(" not in each] == [
        each for each in plain if "n0(" not in each
    ]
    (own,) = (each for each in lines if each.startswith("  n0("))
    assert re.fullmatch(r'  n0\(\(\("(?:[\w .:-]|#\d+;)*"\)\)\):::alive', own) or not name.isascii()
    assert own.count('"') == 2


def test_mermaid_leaves_out_links_of_others_when_there_are_too_many() -> None:
    picture = picture_of(mesh(300))
    text = to_mermaid(picture)
    assert len(re.findall(r"^  n\d+ \S+ n\d+$", text, re.MULTILINE)) == EDGES_MAX
    assert f"{len(picture.edges) - EDGES_MAX} links are left out" in text
    assert len(re.findall(r"^  n0 \S+ n\d+$", text, re.MULTILINE)) == 7
