"""Switches: how rings that name the same pair twice still give every node its full degree.

Where two rings name the same pair (a, b), both have one neighbour too few. The later ring then
goes one further: the next edge (c, d) on it is taken out, and a-c and b-d are put in, which turns
round the piece of the ring between them (a 2-opt move). Every node finds the same switches from
the same members, so that both ends of a link agree without talking.

Why the degree comes out as exactly k, for more than k + 1 members. Take a node a that has too few
neighbours. If another such node is no neighbour of it, the two are linked. Else take b, another
such node (or a itself, if it lacks two: their sum is even, as k is). Every c that is no neighbour
of a has k neighbours. At most k - 1 nodes are neighbours of b, and a, which is one of them (or is
b), is none of c; so c has a neighbour d that is neither b nor beside b, and the switch is open.

Why the graph stays connected. With more than 2k members, edges of ring 0 are never taken out:
there are at least (n - k)(k - 2) other edges to choose c and d from, and b spoils k(k - 2) at most.
With 2k members or fewer, two nodes that are no neighbours have one in common, by their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from maculaos.identity import NodeId
    from maculaos.topology.ring import Ring

    Edge = tuple[NodeId, NodeId]


class Double(NamedTuple):
    """``first`` and its successor on a ring are neighbours on an earlier ring, too."""

    ring: int
    place: bytes
    first: NodeId
    second: NodeId


def edge(one: NodeId, other: NodeId) -> Edge:
    """A pair, whichever end is named first."""
    return (one, other) if one < other else (other, one)


class Switches:
    """The switches for these rings, and what the neighbours of the nodes concerned become.

    ``doubles`` says of each pair that several rings name on which ones, as bits;
    ``neighbours_of`` gives the neighbours of a node before any switch. At least k + 2 members.
    """

    def __init__(
        self,
        rings: Sequence[Ring],
        doubles: Mapping[Edge, int],
        neighbours_of: Callable[[NodeId], Sequence[NodeId]],
    ) -> None:
        self._rings = rings
        self._doubles = doubles
        self._neighbours_of = neighbours_of
        self._near: dict[NodeId, set[NodeId]] = {}
        # Every node that a decision here depends on: a change elsewhere changes no switch.
        self.touched: set[NodeId] = set()
        self.is_local = True
        self._make()

    def near(self, node_id: NodeId) -> set[NodeId] | None:
        """The neighbours of a node after all switches; ``None`` if none of them concerns it."""
        return self._near.get(node_id)

    def _make(self) -> None:
        lacking: dict[NodeId, int] = {}
        for double in self._in_order():
            if not self._go_further(double):
                for node_id in (double.first, double.second):
                    lacking[node_id] = lacking.get(node_id, 0) + 1
        if lacking:
            self.is_local = False
            self._fill_up(lacking)
        self.touched.update(self._near)

    def _in_order(self) -> list[Double]:
        """The doubles in an order that depends on the members only."""
        return sorted(
            self._directed(pair, number)
            for pair, bits in self._doubles.items()
            for number in range(bits.bit_length())
            # The earliest ring keeps the pair.
            if bits & (bits - 1) & 1 << number
        )

    def _directed(self, pair: Edge, number: int) -> Double:
        ring = self._rings[number]
        first, second = pair if ring.around(pair[0])[1] == pair[1] else (pair[1], pair[0])
        return Double(number, ring.place(first), first, second)

    def _go_further(self, double: Double) -> bool:
        """Switch with the next fitting edge of the same ring; say whether there is one."""
        first, second = double.first, double.second
        near_first, near_second = self._current(first), self._current(second)
        walk = self._rings[double.ring].walk(second, 1)
        third = next(walk)
        for fourth in walk:
            if fourth == first:
                break
            self.touched.update((third, fourth))
            is_free = third not in near_first and fourth not in near_second
            if is_free and self._is_plain(third, fourth):
                self._switch(first, second, third, fourth)
                return True
            third = fourth
        return False

    def _is_plain(self, third: NodeId, fourth: NodeId) -> bool:
        """Whether exactly one ring makes them neighbours, and no switch took that away."""
        return edge(third, fourth) not in self._doubles and fourth in self._current(third)

    def _fill_up(self, lacking: dict[NodeId, int]) -> None:
        """Give every node that lacks neighbours its full number; few members only."""
        waiting = dict.fromkeys(sorted(lacking, key=self._rings[0].place))
        while waiting:
            first = next(iter(waiting))
            near = self._current(first)
            second = next((one for one in waiting if one != first and one not in near), None)
            if second is not None:
                self._link(first, second)
            else:
                second = first if lacking[first] > 1 else next(n for n in waiting if n != first)
                third, fourth = next(self._open_switches(first, second))
                self._switch(first, second, third, fourth)
            for node_id in (first, second):
                lacking[node_id] -= 1
                if not lacking[node_id]:
                    del waiting[node_id]

    def _open_switches(self, first: NodeId, second: NodeId) -> Iterator[Edge]:
        """The edges that can be taken out for this pair, the nearest on ring 0 first."""
        ring = self._rings[0]
        keeps_ring = len(ring) > 4 * len(self._rings)
        near_first, near_second = self._current(first), self._current(second)
        for third in ring.walk(first, 1):
            if third in near_first:
                continue
            kept = ring.around(third) if keeps_ring else ()
            for fourth in sorted(self._current(third), key=ring.place):
                if fourth != second and fourth not in near_second and fourth not in kept:
                    yield third, fourth

    def _current(self, node_id: NodeId) -> set[NodeId]:
        near = self._near.get(node_id)
        if near is None:
            near = self._near[node_id] = set(self._neighbours_of(node_id))
        return near

    def _switch(self, first: NodeId, second: NodeId, third: NodeId, fourth: NodeId) -> None:
        self._current(third).remove(fourth)
        self._current(fourth).remove(third)
        self._link(first, third)
        self._link(second, fourth)

    def _link(self, one: NodeId, other: NodeId) -> None:
        self._current(one).add(other)
        self._current(other).add(one)
