"""Explicit multicast on random graphs: no loops, no duplicates, one copy for each link."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maculaos.effects import Send
from maculaos.node.counters import Counters
from maculaos.node.links import Link, Links
from maculaos.node.multicast import Multicast
from maculaos.node.routing import MAX_HOPS, Routing
from maculaos.swim.members import Members
from maculaos.topology.rings import Rings
from maculaos.wire.events import Events
from node_parts import link_to, node_id
from simulation.world import REALM

if TYPE_CHECKING:
    from maculaos.identity import NodeId

pytestmark = pytest.mark.simulation


class ChosenWays(Routing):
    """Ways as the test chose them, right or wrong."""

    def __init__(self, me: NodeId, links: Links) -> None:
        rings = Rings(REALM, 4)
        super().__init__(me, links, rings, Members(100, tombstone_s=60.0))
        self.ways: dict[NodeId, NodeId] = {}

    def next_hop(self, target: NodeId) -> Link | None:
        direct = self._links.to(target)
        way = self.ways.get(target)
        return direct or (None if way is None else self._links.to(way))


@dataclass
class Place:
    """One node of the graph."""

    name: str
    links: Links
    ways: ChosenWays
    multicast: Multicast
    neighbours: dict[int, str] = field(default_factory=dict)


@dataclass
class Graph:
    """Nodes n0, n1, ... and what went over their links."""

    places: dict[str, Place]
    delivered: Counter[str] = field(default_factory=Counter)
    # By directed link: how many copies.
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)

    def publish(self, publisher: str, targets: list[str]) -> None:
        """Send one run, and let it travel until nothing moves."""
        start = self.places[publisher]
        run = Events("t", node_id(publisher), 1, ())
        linked, far = start.multicast.split(node_id(name) for name in targets)
        moving = deque((publisher, effect) for effect in start.multicast.send(run, linked, far))
        while moving:
            name, effect = moving.popleft()
            assert isinstance(effect, Send)
            assert isinstance(effect.message, Events)
            other = self.places[self.places[name].neighbours[effect.link]]
            self.copies[name, other.name] += 1
            assert sum(self.copies.values()) <= len(targets) * (MAX_HOPS + 1)
            if not effect.message.targets:
                self.delivered[other.name] += 1
                continue
            back = other.links.to(node_id(name))
            assert back is not None
            is_here, onward = other.multicast.pass_on(back, effect.message)
            self.delivered[other.name] += is_here
            moving += [(other.name, each) for each in onward]


def make_graph(size: int, edges: set[tuple[int, int]]) -> Graph:
    names = [f"n{number}" for number in range(size)]
    places = {}
    for name in names:
        links = Links(node_id(name), simultaneous_s=5.0)
        ways = ChosenWays(node_id(name), links)
        multicast = Multicast(node_id(name), links, ways, Counters())
        for other in names:
            multicast.meet(node_id(other))
        places[name] = Place(name, links, ways, multicast)
    for one, two in edges:
        for here, there in ((names[one], names[two]), (names[two], names[one])):
            place = places[here]
            number = len(place.neighbours) + 1
            place.links.add(link_to(there, number))
            place.neighbours[number] = there
    return Graph(places)


def lead_shortest_ways(graph: Graph) -> None:
    """Every node knows the next neighbour on a shortest way to every other."""
    for place in graph.places.values():
        first = {other: other for other in place.neighbours.values()}
        queue = deque(first)
        while queue:
            at = queue.popleft()
            for further in graph.places[at].neighbours.values():
                if further not in first and further != place.name:
                    first[further] = first[at]
                    queue.append(further)
        place.ways.ways = {node_id(name): node_id(way) for name, way in first.items()}


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Graph, list[str], random.Random]:
    """A connected graph, and who wants what n0 publishes."""
    size = draw(st.integers(2, 14))
    edges = {(draw(st.integers(0, number - 1)), number) for number in range(1, size)}
    pairs = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1))
    more = draw(st.lists(pairs, max_size=20))
    edges |= {(min(pair), max(pair)) for pair in more if pair[0] != pair[1]}
    targets = draw(st.sets(st.integers(1, size - 1)))
    rng = random.Random(draw(st.integers(0, 2**32)))  # replays the run
    return make_graph(size, edges), [f"n{number}" for number in sorted(targets)], rng


@settings(deadline=None)
@given(graphs())
def test_each_target_gets_one_and_each_link_carries_one_copy(
    drawn: tuple[Graph, list[str], random.Random],
) -> None:
    graph, targets, _ = drawn
    lead_shortest_ways(graph)
    graph.publish("n0", targets)
    assert +graph.delivered == Counter(targets)
    assert max(graph.copies.values(), default=0) <= 1
    assert len(graph.copies) <= len(graph.places) * len(graph.places)


@settings(deadline=None)
@given(graphs())
def test_no_target_gets_two_however_wrong_the_ways_are(
    drawn: tuple[Graph, list[str], random.Random],
) -> None:
    graph, targets, rng = drawn
    for place in graph.places.values():
        around = [node_id(name) for name in place.neighbours.values()]
        place.ways.ways = {node_id(name): rng.choice(around) for name in graph.places}
    graph.publish("n0", targets)
    assert max(graph.delivered.values(), default=0) <= 1
    assert +graph.delivered <= Counter(targets)


def test_in_a_full_mesh_nothing_is_passed_on() -> None:
    size = 8
    graph = make_graph(size, {(one, two) for two in range(size) for one in range(two)})
    lead_shortest_ways(graph)
    graph.publish("n0", [f"n{number}" for number in range(1, size)])
    assert set(graph.copies) == {("n0", f"n{number}") for number in range(1, size)}
