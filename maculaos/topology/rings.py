"""The rings of a realm: who is to be linked with whom, worked out alike by every node.

k/2 rings, k being the degree: on ring i all members stand in the order of SHA-256(i, realm, node
id), and each is a neighbour of the two beside it. A union of random rings is an expander with high
probability: short ways (diameter O(log n)) and no narrow place (C. Law, K.-Y. Siu, "Distributed
construction of random expander networks", INFOCOM 2003). A member that comes or goes changes two
neighbours on each ring. Up to k + 1 members are all linked with all; above that each has exactly k
neighbours, because pairs that several rings name are switched (see ``maculaos.topology.switches``).

It knows nothing of links, and of who can be reached; ``maculaos.topology.neighbours`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from maculaos.topology.ring import Ring
from maculaos.topology.settings import check_degree
from maculaos.topology.switches import Switches, edge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from maculaos.identity import NodeId
    from maculaos.topology.switches import Edge


class Side(NamedTuple):
    """On which ring, and in which direction (1 or -1), a neighbour lies."""

    ring: int
    step: int


class Rings:
    """The members of ``realm`` on ``degree / 2`` rings; raises ``ValueError`` for an odd degree.

    Adding or discarding one of n members takes O(k log n) steps (and moves n words in memory);
    ``neighbours`` takes O(k log n).
    """

    def __init__(self, realm: str, degree: int, members: Iterable[NodeId] = ()) -> None:
        self.degree = check_degree(degree)
        self._rings = tuple(Ring(number, realm) for number in range(degree // 2))
        known = list(dict.fromkeys(members))
        for ring in self._rings:
            ring.fill(known)
        # Pairs that several rings name, and on which; None until somebody asks.
        self._doubles: dict[Edge, int] | None = None
        self._switches: Switches | None = None

    def __len__(self) -> int:
        return len(self._rings[0])

    def __contains__(self, node_id: NodeId) -> bool:
        return node_id in self._rings[0]

    def __iter__(self) -> Iterator[NodeId]:
        """The members in the order of ring 0."""
        return iter(self._rings[0])

    def add(self, node_id: NodeId) -> bool:
        """Take in a member; whether it is new."""
        if node_id in self:
            return False
        between = [ring.add(node_id) for ring in self._rings]
        if self._stays_incremental(len(self) - 1):
            self._split(node_id, between)
        return True

    def discard(self, node_id: NodeId) -> bool:
        """Drop a member; whether it was one."""
        if node_id not in self:
            return False
        between = [ring.remove(node_id) for ring in self._rings]
        if self._stays_incremental(len(self)):
            self._join(node_id, between)
        return True

    def neighbours(self, node_id: NodeId) -> tuple[NodeId, ...]:
        """Those that member is to be linked with; none if it is no member."""
        return tuple(self.sides(node_id))

    def sides(self, node_id: NodeId) -> dict[NodeId, Side]:
        """The neighbours of a member, and where each of them lies from it."""
        if node_id not in self:
            return {}
        if len(self) <= self.degree + 1:
            return dict.fromkeys(self._rings[0].walk(node_id, 1), Side(0, 1))
        named = self._named(node_id)
        near = self._switched().near(node_id)
        if near is None:
            return named
        kept = {neighbour: side for neighbour, side in named.items() if neighbour in near}
        added = sorted(near - kept.keys(), key=self._rings[0].place)
        return kept | dict.fromkeys(added, Side(0, 1))

    def beyond(self, node_id: NodeId, side: Side) -> Iterator[NodeId]:
        """The members that follow on that side of ``node_id``, the nearest first."""
        return self._rings[side.ring].walk(node_id, side.step)

    def adjacency(self) -> dict[NodeId, tuple[NodeId, ...]]:
        """The whole graph: every member with its neighbours."""
        return {node_id: self.neighbours(node_id) for node_id in self}

    def _named(self, node_id: NodeId) -> dict[NodeId, Side]:
        """The neighbours of a node as the rings name them, without switches."""
        named: dict[NodeId, Side] = {}
        for number, ring in enumerate(self._rings):
            before, after = ring.around(node_id)
            named.setdefault(after, Side(number, 1))
            named.setdefault(before, Side(number, -1))
        return named

    def _switched(self) -> Switches:
        if self._doubles is None:
            self._doubles = self._find_doubles()
            self._switches = None
        if self._switches is None:
            self._switches = Switches(self._rings, self._doubles, lambda n: tuple(self._named(n)))
        return self._switches

    def _find_doubles(self) -> dict[Edge, int]:
        bits: dict[Edge, int] = {}
        for number, ring in enumerate(self._rings):
            nodes = list(ring)
            for before, after in zip(nodes, nodes[1:] + nodes[:1], strict=True):
                pair = edge(before, after)
                bits[pair] = bits.get(pair, 0) | 1 << number
        return {pair: each for pair, each in bits.items() if each & (each - 1)}

    def _stays_incremental(self, fewest: int) -> bool:
        """Whether what is known of doubles can be kept up; few members are looked at anew."""
        if self._doubles is None or fewest <= 2 * self.degree:
            self._doubles = None
            return False
        if self._switches is not None and not self._switches.is_local:
            self._switches = None
        return True

    def _split(self, node_id: NodeId, between: list[tuple[NodeId, NodeId]]) -> None:
        """A new node stands between these, ring by ring."""
        self._concern(*(each for pair in between for each in pair))
        bits: dict[NodeId, int] = {}
        for number, (before, after) in enumerate(between):
            self._unname(edge(before, after), number)
            for each in (before, after):
                bits[each] = bits.get(each, 0) | 1 << number
        for each, rings in bits.items():
            self._name(edge(node_id, each), rings)

    def _join(self, node_id: NodeId, between: list[tuple[NodeId, NodeId]]) -> None:
        """These stand side by side now that a node left, ring by ring."""
        self._concern(node_id, *(each for pair in between for each in pair))
        for number, (before, after) in enumerate(between):
            self._unname(edge(node_id, before), number)
            self._unname(edge(node_id, after), number)
        for before, after in between:
            rings = sum(
                1 << number
                for number, ring in enumerate(self._rings)
                if after in ring.around(before)
            )
            self._name(edge(before, after), rings)

    def _name(self, pair: Edge, rings: int) -> None:
        """These rings, as bits, name ``pair``."""
        if self._doubles is not None and rings & (rings - 1):
            self._doubles[pair] = rings
            self._switches = None

    def _unname(self, pair: Edge, number: int) -> None:
        """That ring names ``pair`` no more."""
        if self._doubles is None or pair not in self._doubles:
            return
        left = self._doubles[pair] & ~(1 << number)
        if left & (left - 1):
            self._doubles[pair] = left
        else:
            del self._doubles[pair]
        self._switches = None

    def _concern(self, *nodes: NodeId) -> None:
        """The neighbours of these change: work the switches out anew if they depend on them."""
        if self._switches is not None and not self._switches.touched.isdisjoint(nodes):
            self._switches = None
