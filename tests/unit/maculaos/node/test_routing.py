"""Ways through the graph of links: short, never over who is gone, and worked out seldom."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from maculaos.node.routing import KEEP_S, MAX_HOPS, Routing
from maculaos.swim.rumour import Health
from maculaos.topology.rings import Rings
from node_parts import links_of, members_of, names, node_id, rumour
from simulation.world import REALM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.node.links import Links


def rings_of(there: Iterable[str], degree: int = 6) -> Rings:
    return Rings(REALM, degree, map(node_id, there))


def linked_in(rings: Rings, me: str, there: tuple[str, ...]) -> list[str]:
    """Those that the graph links ``me`` with."""
    near = rings.neighbours(node_id(me))
    return [name for name in there if node_id(name) in near]


def distances(rings: Rings, start: str, there: tuple[str, ...]) -> dict[str, int]:
    """Links on the shortest way from ``start``, by brute force."""
    far, waiting = {start: 0}, deque([start])
    while waiting:
        name = waiting.popleft()
        for other in linked_in(rings, name, there):
            if other not in far:
                far[other] = far[name] + 1
                waiting.append(other)
    return far


def routings_of(there: tuple[str, ...]) -> dict[str, tuple[Routing, Links]]:
    """What every node of a realm works out whose links are all up."""
    rings, members = rings_of(there), members_of(*there)
    links = {me: links_of(me, *linked_in(rings, me, there)) for me in there}
    return {me: (Routing(node_id(me), links[me], rings, members), links[me]) for me in there}


@given(st.integers(2, 40), st.data())
def test_every_hop_is_on_a_shortest_way(count: int, data: st.DataObject) -> None:
    there = names(count)
    routings = routings_of(there)
    start, target = data.draw(st.sampled_from(there)), data.draw(st.sampled_from(there))
    far = distances(rings_of(there), target, there)
    place, hops = start, 0
    while place != target:
        link = routings[place][0].next_hop(node_id(target))
        assert link is not None
        assert far[link.peer.name] == far[place] - 1
        place, hops = link.peer.name, hops + 1
    assert hops == far[start] <= MAX_HOPS


def test_neighbour_is_reached_over_its_own_link() -> None:
    routing, _ = routings_of(names(30))["m0"]
    for name in linked_in(rings_of(names(30)), "m0", names(30)):
        link = routing.next_hop(node_id(name))
        assert link is not None
        assert link.peer.name == name


def test_there_is_no_way_to_strangers_and_none_without_links() -> None:
    there = names(30)
    routing, _ = routings_of(there)["m0"]
    assert routing.next_hop(node_id("stranger")) is None
    alone = Routing(node_id("m0"), links_of("m0"), rings_of(there), members_of(*there))
    assert alone.next_hop(node_id("m7")) is None


def test_way_over_a_suspect_is_taken_only_where_there_is_no_other() -> None:
    there = ("me", "a", "b", "far")
    rings = rings_of(there)  # so few are all linked with all, if their links are up
    members = members_of("a", "b", "far")
    for suspected, expected in ((("a",), "b"), (("b",), "a"), (("a", "b"), "a")):
        members = members_of("a", "b", "far")
        for name in suspected:
            members.put(rumour(name, Health.SUSPECT), 0.0)
        routing = Routing(node_id("me"), links_of("me", "a", "b"), rings, members)
        link = routing.next_hop(node_id("far"))
        assert link is not None
        assert link.peer.name == expected


def test_suspect_itself_is_reached() -> None:
    members = members_of("a", "far")
    members.put(rumour("far", Health.SUSPECT), 0.0)
    routing = Routing(node_id("me"), links_of("me", "a"), rings_of(("me", "a", "far")), members)
    link = routing.next_hop(node_id("far"))
    assert link is not None
    assert link.peer.name == "a"


def test_way_over_a_link_that_is_lost_is_no_way() -> None:
    there = ("me", "a", "far")
    links = links_of("me", "a")
    routing = Routing(node_id("me"), links, rings_of(there), members_of("a", "far"))
    assert routing.next_hop(node_id("far")) is not None
    (link,) = links
    links.remove(link)
    assert routing.next_hop(node_id("far")) is None


def test_ways_are_worked_out_anew_at_most_once_in_a_while() -> None:
    rings, members = rings_of(("me", "a", "far")), members_of("a", "far")
    routing = Routing(node_id("me"), links_of("me", "a"), rings, members)
    routing.changed()
    routing.advance(5.0)
    assert routing.next_hop(node_id("far")) is not None
    rings.add(node_id("late"))
    routing.changed()
    for now in (5.0, 5.0 + KEEP_S / 2):
        routing.advance(now)
        assert routing.next_hop(node_id("late")) is None
    routing.advance(5.0 + KEEP_S)
    assert routing.next_hop(node_id("late")) is not None


def test_who_came_since_ways_were_worked_out_is_reached_over_its_neighbours() -> None:
    there = names(25)
    rings, members = rings_of(there[:-1]), members_of(*there)
    links = links_of("m0", *linked_in(rings, "m0", there[:-1]))
    routing = Routing(node_id("m0"), links, rings, members)
    newcomer = node_id(there[-1])
    assert routing.next_hop(node_id("m9")) is not None
    assert routing.next_hop(newcomer) is None
    rings.add(newcomer)
    routing.changed()
    # Not a moment later: ways are not worked out anew yet.
    link = routing.next_hop(newcomer)
    assert link is not None
    near = rings.neighbours(newcomer)
    assert link in [routing.next_hop(each) for each in near if each != node_id("m0")]
