"""What a drawing of the graph shows, whatever the format: nodes in order, and edges by state.

The formats are ``maculaos.topology.dot``, ``mermaid`` and ``svg``; they only write it down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from maculaos.topology.graph import Vertex
from maculaos.topology.measure import measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maculaos.topology.graph import Topology

HEALTH_COLOURS: Final = {
    "alive": "#1a7f4b",
    "suspect": "#d98a00",
    "dead": "#c62f2f",
    "left": "#8a929c",
}
UNKNOWN_HEALTH_COLOUR: Final = "#8a929c"


class State(Enum):
    """What is known of an edge, and how it is drawn."""

    # Between two others: it is to be there; whether it is, this node does not know.
    PLANNED = "between others"
    # Of this node: there, though the rings do not name it.
    EXTRA = "up, not wanted"
    UP = "up"
    MISSING = "down"

    @property
    def colour(self) -> str:
        """The colour of such an edge, as six hex digits."""
        return {
            State.PLANNED: "#c3ccd6",
            State.EXTRA: "#5b7fb8",
            State.UP: "#1a7f4b",
            State.MISSING: "#c62f2f",
        }[self]


@dataclass(frozen=True, slots=True)
class Edge:
    """Between two nodes, as their numbers in the picture."""

    one: int
    other: int
    state: State


@dataclass(frozen=True, slots=True)
class Picture:
    """Node 0 is the one that looks; the first ``on_ring`` nodes stand on the rings, in order."""

    nodes: tuple[Vertex, ...]
    on_ring: int
    edges: tuple[Edge, ...]
    caption: str


def picture_of(topology: Topology, degree: int | None = None) -> Picture:
    """What one node knows, as a picture; with ``degree``, as if the realm had that degree."""
    wanted = topology.wanted(degree)
    nodes, on_ring = _in_order(topology, wanted)
    number = {vertex.node_id: index for index, vertex in enumerate(nodes)}
    edges = sorted(
        _own_edges(topology, wanted, number) + _edges_of_others(wanted, number),
        key=lambda edge: list(State).index(edge.state),
    )
    return Picture(nodes, on_ring, tuple(edges), caption_of(topology, wanted))


def caption_of(topology: Topology, wanted: Mapping[str, tuple[str, ...]]) -> str:
    """The wanted graph in one line; without one, how many links this node has."""
    if wanted:
        return measure(wanted).in_words()
    return f"{len(topology.others) + 1} nodes, {len(topology.neighbours)} own links"


def _in_order(
    topology: Topology, wanted: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Vertex, ...], int]:
    """The node itself, those on the rings in the order of ring 0, then those that are gone."""
    others = {vertex.node_id: vertex for vertex in topology.others}
    others.pop(topology.origin.node_id, None)
    ring = list(wanted) or [each.node_id for each in others.values() if each.is_present]
    if topology.origin.node_id in ring:
        start = ring.index(topology.origin.node_id)
        ring = ring[start + 1 :] + ring[:start]
    present = [others.pop(node_id) for node_id in ring]
    return (topology.origin, *present, *others.values()), len(present) + 1


def _own_edges(
    topology: Topology, wanted: Mapping[str, tuple[str, ...]], number: Mapping[str, int]
) -> list[Edge]:
    named = dict.fromkeys(wanted.get(topology.origin.node_id, ()))
    linked = {vertex.node_id: None for vertex in topology.neighbours}
    is_extra = bool(wanted)
    edges = [
        Edge(0, number[node_id], State.EXTRA if is_extra and node_id not in named else State.UP)
        for node_id in linked
    ]
    return edges + [Edge(0, number[each], State.MISSING) for each in named if each not in linked]


def _edges_of_others(
    wanted: Mapping[str, tuple[str, ...]], number: Mapping[str, int]
) -> list[Edge]:
    pairs = ((number[one], number[other]) for one, near in wanted.items() for other in near)
    return [Edge(one, other, State.PLANNED) for one, other in sorted(pairs) if 0 < one < other]
