"""What a whole graph is worth: how far apart its nodes are, and what its loss of one would break.

A graph is a mapping of each node to its neighbours; whoever is named as a neighbour names back.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence

Node = TypeVar("Node", bound="Hashable")

# Up to this many nodes the diameter is exact; above it, the ways from a few nodes bound it below.
EXACT_UP_TO: Final = 2000
_SAMPLES: Final = 32


@dataclass(frozen=True, slots=True)
class Measured(Generic[Node]):
    """The measures of one graph; lengths are in links."""

    nodes: int
    links: int
    # How many nodes have that many neighbours; few neighbours first.
    degrees: dict[int, int]
    # Parts that no way joins, the largest first, as numbers of nodes.
    parts: tuple[int, ...]
    # The longest of the shortest ways, within a part; a lower bound unless it is exact.
    diameter: int
    is_exact: bool
    # Nodes whose loss alone would cut a part in two.
    articulation_points: tuple[Node, ...]

    @property
    def is_connected(self) -> bool:
        """Whether every node reaches every other."""
        return len(self.parts) <= 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON can say it; articulation points are only counted."""
        return {
            "nodes": self.nodes,
            "links": self.links,
            "degrees": {str(degree): count for degree, count in self.degrees.items()},
            "parts": list(self.parts),
            "diameter": self.diameter,
            "diameter_is_exact": self.is_exact,
            "articulation_points": len(self.articulation_points),
        }

    def in_words(self) -> str:
        """One line for people."""
        degrees = list(self.degrees) or [0]
        spread = str(degrees[0]) if len(degrees) == 1 else f"{degrees[0]} to {degrees[-1]}"
        joined = "connected" if self.is_connected else f"in {len(self.parts)} parts"
        breaks = len(self.articulation_points)
        risk = "the loss of one cuts off none" if not breaks else f"{breaks} whose loss cuts it"
        bound = "" if self.is_exact else " or more"
        return (
            f"{_counted(self.nodes, 'node')}, {_counted(self.links, 'link')}, degree {spread}, "
            f"diameter {self.diameter}{bound}, {joined}, {risk}"
        )


def measure(
    graph: Mapping[Node, Collection[Node]], exact_up_to: int = EXACT_UP_TO
) -> Measured[Node]:
    """Measure a graph; the diameter exactly for at most ``exact_up_to`` nodes."""
    parts = _parts(graph)
    is_exact = len(graph) <= exact_up_to
    return Measured(
        nodes=len(graph),
        links=sum(map(len, graph.values())) // 2,
        degrees=dict(sorted(Counter(map(len, graph.values())).items())),
        parts=tuple(sorted(map(len, parts), reverse=True)),
        diameter=_diameter(graph) if is_exact else _sampled_diameter(graph, parts),
        is_exact=is_exact,
        articulation_points=tuple(_articulation_points(graph)),
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _distances(graph: Mapping[Node, Collection[Node]], start: Node) -> dict[Node, int]:
    """Breadth first: every node that ``start`` reaches, nearest first, and how far it is."""
    distances = {start: 0}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for neighbour in graph[node]:
            if neighbour not in distances:
                distances[neighbour] = distances[node] + 1
                waiting.append(neighbour)
    return distances


def _parts(graph: Mapping[Node, Collection[Node]]) -> list[list[Node]]:
    parts: list[list[Node]] = []
    seen: set[Node] = set()
    for node in graph:
        if node not in seen:
            parts.append(list(_distances(graph, node)))
            seen.update(parts[-1])
    return parts


def _diameter(graph: Mapping[Node, Collection[Node]]) -> int:
    """In every round, each node learns what its neighbours reached: sets as bits of integers."""
    number = {node: index for index, node in enumerate(graph)}
    beside = [[number[neighbour] for neighbour in near] for near in graph.values()]
    reached = [1 << index for index in range(len(beside))]
    rounds = 0
    while True:
        grown = []
        for index, near in enumerate(beside):
            bits = reached[index]
            for neighbour in near:
                bits |= reached[neighbour]
            grown.append(bits)
        if grown == reached:
            return rounds
        reached, rounds = grown, rounds + 1


def _sampled_diameter(
    graph: Mapping[Node, Collection[Node]], parts: Sequence[Sequence[Node]]
) -> int:
    """The longest way from evenly chosen nodes, and from the far end of the first one's way."""
    nodes = list(graph)
    starts = nodes[:: max(1, len(nodes) // _SAMPLES)]
    # The last node of a part is the farthest from its first.
    starts += [part[-1] for part in sorted(parts, key=len)[-1:]]
    return max((max(_distances(graph, start).values()) for start in starts), default=0)


def _articulation_points(graph: Mapping[Node, Collection[Node]]) -> list[Node]:
    """J. Hopcroft, R. Tarjan, "Algorithm 447", 1973: one walk in depth, here without recursion."""
    order: dict[Node, int] = {}
    points: dict[Node, None] = {}
    for root in graph:
        if root not in order:
            points.update(dict.fromkeys(_points_of_part(graph, root, order)))
    return [node for node in graph if node in points]


def _points_of_part(
    graph: Mapping[Node, Collection[Node]], root: Node, order: dict[Node, int]
) -> Iterator[Node]:
    """The points of the part of ``root``; ``order`` is the number of each node in the walk."""
    order[root] = len(order)
    # The earliest node that is reached from below a node without passing it.
    earliest = {root: order[root]}
    path = [(root, root, iter(graph[root]))]
    branches_of_root = 0
    while path:
        parent, node, rest = path[-1]
        neighbour = next((each for each in rest if each != parent), None)
        if neighbour is None:
            path.pop()
            if not path:
                break
            earliest[parent] = min(earliest[parent], earliest[node])
            if parent == root:
                branches_of_root += 1
            elif earliest[node] >= order[parent]:
                yield parent
        elif neighbour in order:
            earliest[node] = min(earliest[node], order[neighbour])
        else:
            order[neighbour] = earliest[neighbour] = len(order)
            path.append((node, neighbour, iter(graph[neighbour])))
    if branches_of_root > 1:
        yield root
