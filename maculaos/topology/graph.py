"""The graph of links as one node knows it: its own links, and those that its realm is to have.

Whether two others are linked is not known; that they are to be is worked out from the members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from maculaos.errors import MaculaError
from maculaos.identity import NodeId
from maculaos.topology.rings import Rings
from maculaos.topology.settings import DEFAULT_DEGREE, check_degree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class InvalidTopology(MaculaError, ValueError):
    """A mapping that does not describe a topology."""


@dataclass(frozen=True, slots=True)
class Vertex:
    """One member: its name, node id in hex, health in lower case, and whether it is linked."""

    name: str
    node_id: str
    health: str
    is_linked: bool

    @property
    def is_present(self) -> bool:
        """Whether the member is on the rings: alive or suspected."""
        return self.health in ("alive", "suspect")


@dataclass(frozen=True, slots=True)
class Topology:
    """The node that looks, and the other members in the order they are to be shown."""

    origin: Vertex
    others: tuple[Vertex, ...]
    # What the rings are made of; a node that names no realm makes none.
    realm: str = ""
    degree: int = DEFAULT_DEGREE

    @property
    def neighbours(self) -> tuple[Vertex, ...]:
        """The members at the other end of the node's own links."""
        return tuple(vertex for vertex in self.others if vertex.is_linked)

    def wanted(self, degree: int | None = None) -> dict[str, tuple[str, ...]]:
        """The graph that the realm is to have: node ids in hex, in the order of ring 0.

        With another ``degree``, the graph it would have. Empty if the node names no realm. Raises
        ``InvalidTopology`` for a node id that is none.
        """
        if not self.realm:
            return {}
        present = [self.origin, *(each for each in self.others if each.is_present)]
        try:
            members = [NodeId(bytes.fromhex(each.node_id)) for each in present]
        except ValueError as error:
            raise InvalidTopology("a node id is not written in hex digits") from error
        graph = Rings(self.realm, degree or self.degree, members).adjacency()
        return {
            node_id.hex(): tuple(each.hex() for each in near) for node_id, near in graph.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON can say it: ``self``, ``neighbours``, ``unlinked``, ``realm``, ``degree``."""
        return {
            "self": _vertex_to_dict(self.origin),
            "neighbours": [_vertex_to_dict(vertex) for vertex in self.neighbours],
            "unlinked": [_vertex_to_dict(each) for each in self.others if not each.is_linked],
            "realm": self.realm,
            "degree": self.degree,
        }

    def draw(self) -> str:
        """As text: one line for the node, one for each other member below it."""
        lines = [f"{self.origin.name} ({self.origin.node_id[:8]})"]
        for number, vertex in enumerate(self.others, start=1):
            branch = "└" if number == len(self.others) else "├"
            edge = "──" if vertex.is_linked else "╌╌"
            link = "" if vertex.is_linked else ", no link"
            short_id = vertex.node_id[:8]
            lines.append(f"{branch}{edge} {vertex.name} ({short_id}) {vertex.health}{link}")
        return "\n".join(lines)


def read_topology(described: Mapping[str, Any]) -> Topology:
    """The topology that ``to_dict`` described; raises ``InvalidTopology``."""
    try:
        linked = _read_vertices(described["neighbours"], is_linked=True)
        unlinked = _read_vertices(described["unlinked"], is_linked=False)
        origin = _read_vertex(described["self"], is_linked=False)
        realm = str(described.get("realm", ""))
        degree = check_degree(int(described.get("degree", DEFAULT_DEGREE)))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidTopology(f"not a topology: {error!r}") from error
    return Topology(origin, (*linked, *unlinked), realm, degree)


def _vertex_to_dict(vertex: Vertex) -> dict[str, str]:
    return {"name": vertex.name, "node_id": vertex.node_id, "health": vertex.health}


def _read_vertices(items: Sequence[Mapping[str, Any]], *, is_linked: bool) -> list[Vertex]:
    return [_read_vertex(item, is_linked=is_linked) for item in items]


def _read_vertex(item: Mapping[str, Any], *, is_linked: bool) -> Vertex:
    return Vertex(str(item["name"]), str(item["node_id"]), str(item["health"]), is_linked)
