"""Which links a node wants, dials, keeps and closes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bare_node import (
    ADDRESS,
    closed,
    counter,
    dialled,
    identity,
    linked_node,
    make_node,
    met,
    sent,
    smaller_and_larger,
)
from eventful_node import deliveries, run_of, watching
from maculaos.effects import CloseClient, CloseLink, Dial
from maculaos.node.links import GRACE_S
from maculaos.wire.events import Receipt, Taken, Watch
from maculaos.wire.messages import Digest, Heartbeat, Ping, Pong, Rumour, may_travel_early
from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.node import Node


def test_configured_peers_are_dialled_at_once_and_again_after_a_failure() -> None:
    node = make_node(peers=(ADDRESS["b"], ADDRESS["a"]))
    assert node.next_deadline() == 0.0
    assert dialled(node.advance(0.0)) == [ADDRESS["b"]]
    node.dial_failed(ADDRESS["b"], "refused", 0.1)
    again: list[str] = []
    while not again and node.next_deadline() < 2.0:
        again = dialled(node.advance(node.next_deadline()))
    assert again == [ADDRESS["b"]]


def test_new_peers_of_the_configuration_are_dialled_and_old_ones_no_longer() -> None:
    node = make_node(peers=(ADDRESS["b"],))
    assert dialled(node.set_peers((ADDRESS["c"],), 0.0)) == [ADDRESS["c"]]


def ticks(node: Node, until: float) -> Iterator[float]:
    """The times at which that node has something to do."""
    while (now := node.next_deadline()) < until:
        yield now


def test_members_heard_of_are_dialled_by_the_smaller_id_first() -> None:
    smaller, larger = smaller_and_larger()
    for name, other, at_once in ((smaller, larger, True), (larger, smaller, False)):
        node = make_node(name)
        node.link_up(1, identity("c"), met("c", is_outbound=False), 0.0)
        about = Rumour(identity(other).node_id, other, (ADDRESS[other],), 0, 0)
        node.receive(1, Heartbeat((about,)), 0.0)
        # Changes of members are gathered for a tenth of a second; who waits, waits longer.
        dials = [now for now in ticks(node, 1.0) if ADDRESS[other] in dialled(node.advance(now))]
        assert len(dials) == 1
        assert (dials[0] < 0.2) is at_once


@pytest.mark.parametrize("first_is_outbound", [True, False])
def test_simultaneous_dials_settle_on_the_one_by_the_smaller_id(first_is_outbound: bool) -> None:
    smaller, larger = smaller_and_larger()
    for name, peer in ((smaller, larger), (larger, smaller)):
        node = make_node(name)
        effects = node.link_up(1, identity(peer), met(peer, is_outbound=first_is_outbound), 0.0)
        effects += node.link_up(
            2, identity(peer), met(peer, is_outbound=not first_is_outbound), 0.1
        )
        outbound, inbound = (1, 2) if first_is_outbound else (2, 1)
        lost = inbound if name == smaller else outbound
        assert closed(effects) == [(lost, ErrorCode.DUPLICATE_LINK)]


def test_a_peer_that_started_again_takes_over_from_its_earlier_life_at_once() -> None:
    for name, peer in (smaller_and_larger(), smaller_and_larger()[::-1]):
        for is_outbound in (True, False):
            node = make_node(name)
            node.link_up(1, identity(peer), met(peer, is_outbound=is_outbound, life=1), 0.0)
            again = met(peer, is_outbound=not is_outbound, life=2)
            effects = node.link_up(2, identity(peer), again, 0.1)
            assert closed(effects) == [(1, ErrorCode.DUPLICATE_LINK)]


def doubled(first_life: int = 1) -> tuple[Node, CloseLink]:
    """Node a, whose client wants news, and its first link to b, which another one replaced."""
    node = watching()
    node.link_up(1, identity("b"), met("b", is_outbound=False, life=first_life), 0.0)
    effects = node.link_up(2, identity("b"), met("b", is_outbound=False), 0.1)
    (replaced,) = (each for each in effects if isinstance(each, CloseLink))
    return node, replaced


def test_a_link_that_was_replaced_is_heard_for_a_moment_and_one_of_an_earlier_life_is_not() -> None:
    assert doubled()[1].grace_s == GRACE_S
    assert doubled(first_life=7)[1].grace_s == 0.0


def test_events_that_were_under_way_when_their_link_was_replaced_are_delivered_once() -> None:
    node, _ = doubled()
    assert len(deliveries(node.receive(1, run_of(sequence=5), 0.2))) == 1
    effects = node.receive(1, run_of(sequence=6, acknowledge=True), 0.2)
    ((_, delivery),) = deliveries(effects)
    answered = node.receive_from_client(1, Taken(1, 0, (delivery.number,)), 0.3)
    # Over the link that there is now.
    assert [link for link, _ in sent(answered, Receipt)] == [2]
    assert deliveries(node.receive(2, run_of(sequence=6, acknowledge=True), 0.4)) == []


def test_over_a_replaced_link_nothing_else_counts_and_nothing_at_all_when_it_is_over() -> None:
    node, _ = doubled()
    assert node.receive(1, Ping(1, (), is_urgent=False), 0.2) == []
    assert node.link_down(1, "duplicate", 1.1) == []
    assert node.receive(1, run_of(), 1.2) == []
    assert counter(node, "messages_ignored") == 2


def test_the_loser_of_two_simultaneous_dials_is_heard_at_both_ends() -> None:
    for name, peer in (smaller_and_larger(), smaller_and_larger()[::-1]):
        node = make_node(name)
        node.client_up(1, 0.0)
        node.receive_from_client(1, Watch(0, 1, "news.*", 100), 0.0)
        node.link_up(1, identity(peer), met(peer, is_outbound=True), 0.0)
        node.link_up(2, identity(peer), met(peer, is_outbound=False), 0.1)
        heard = [deliveries(node.receive(link, run_of(peer, link), 0.2)) for link in (1, 2)]
        assert [len(each) for each in heard] == [1, 1]


def test_of_two_links_by_one_dialler_the_newer_wins() -> None:
    node = linked_node()
    node.link_up(1, identity("b"), met("b", is_outbound=False), 0.0)
    effects = node.link_up(2, identity("b"), met("b", is_outbound=False), 0.1)
    assert closed(effects) == [(1, ErrorCode.DUPLICATE_LINK)]


@pytest.mark.parametrize("name", smaller_and_larger())
def test_a_peer_that_lost_the_old_link_long_ago_is_not_locked_out(name: str) -> None:
    peer = "a" if name == "b" else "b"
    node = make_node(name)
    node.link_up(1, identity(peer), met(peer, is_outbound=True), 0.0)
    effects = node.link_up(2, identity(peer), met(peer, is_outbound=False), 60.0)
    assert closed(effects) == [(1, ErrorCode.DUPLICATE_LINK)]


def test_a_node_that_dials_itself_stops_doing_so() -> None:
    node = make_node(peers=("localhost:9",))
    node.advance(0.0)
    own = met("a", is_outbound=True, dialled="localhost:9")
    effects = node.link_up(1, identity("a"), own, 0.1)
    assert closed(effects) == [(1, ErrorCode.SELF_DIALLED)]
    later = [each for _ in range(200) for each in dialled(node.advance(node.next_deadline()))]
    assert later == []


def test_an_alias_of_a_linked_peer_is_not_dialled_again() -> None:
    node = make_node(peers=("localhost:4702",))
    node.advance(0.0)
    alias = met("b", is_outbound=True, dialled="localhost:4702")
    node.link_up(1, identity("b"), alias, 0.1)
    for _ in range(200):
        effects = node.advance(node.next_deadline())
        assert dialled(effects) == []
        for link, ping in sent(effects, Ping):
            assert isinstance(ping, Ping)
            node.receive(link, Pong(ping.sequence), 0.1)


def test_links_beyond_the_limit_are_refused() -> None:
    node = linked_node("b", links=1)
    effects = node.link_up(2, identity("c"), met("c", is_outbound=False), 0.0)
    assert closed(effects) == [(2, ErrorCode.LIMIT_EXCEEDED)]


def test_another_realm_is_refused() -> None:
    stranger = replace(identity("b"), realm="elsewhere")
    effects = make_node().link_up(1, stranger, met("b", is_outbound=False), 0.0)
    assert closed(effects) == [(1, ErrorCode.WRONG_REALM)]


def test_a_lost_link_is_dialled_again() -> None:
    node = linked_node("b")
    node.link_down(1, "idle timeout", 50.0)
    assert node.link_down(1, "idle timeout", 50.0) == []
    again: list[str] = []
    while not again and node.next_deadline() < 51.0:
        again = dialled(node.advance(node.next_deadline()))
    assert again == [ADDRESS["b"]]


def test_leaving_says_so_and_closes_everything() -> None:
    node = linked_node("b", "c")
    effects = node.leave(1.0)
    rumours = [each for _, each in sent(effects, Heartbeat)]
    assert all(isinstance(each, Heartbeat) and each.rumours[0].health == 3 for each in rumours)
    assert len(rumours) == 2
    assert closed(effects) == [(1, ErrorCode.SHUTTING_DOWN), (2, ErrorCode.SHUTTING_DOWN)]
    assert CloseClient(1, ErrorCode.SHUTTING_DOWN, "leaving") in effects
    assert node.next_deadline() == math.inf
    assert node.advance(100.0) == []
    late = node.link_up(3, identity("d"), met("d", is_outbound=False), 2.0)
    assert closed(late) == [(3, ErrorCode.SHUTTING_DOWN)]


def test_a_dead_and_silent_peer_loses_its_link_but_one_that_answers_does_not() -> None:
    node = linked_node("b", "c")
    ends: list[tuple[int, ErrorCode]] = []
    while not ends and node.next_deadline() < 30.0:
        now = node.next_deadline()
        effects = node.advance(now)
        ends += closed(effects)
        for link, ping in sent(effects, Ping):
            if link == 2:
                assert isinstance(ping, Ping)
                node.receive(2, Pong(ping.sequence), now)
    assert ends == [(1, ErrorCode.NO_ERROR)]
    gossip = Rumour(identity("c").node_id, "c", (ADDRESS["c"],), 0, 2)
    assert closed(node.receive(2, Heartbeat((gossip,)), 30.0)) == []


def test_found_address_is_dialled_unless_a_member_lives_there() -> None:
    node = linked_node("b")
    known = Rumour(identity("c").node_id, "c", (ADDRESS["c"],), 0, 0)
    node.receive(1, Heartbeat((known,)), 0.0)
    assert dialled(node.discovered("mdns", (ADDRESS["c"], ADDRESS["d"]), 0.1)) == [ADDRESS["d"]]


def test_found_address_is_let_go_when_nobody_finds_it_any_more() -> None:
    node = make_node()
    assert dialled(node.discovered("mdns", (ADDRESS["d"],), 0.0)) == [ADDRESS["d"]]
    node.discovered("mdns", (), 0.1)
    node.dial_failed(ADDRESS["d"], "refused", 0.2)
    assert [each for now in ticks(node, 60.0) for each in dialled(node.advance(now))] == []


def test_node_without_links_dials_what_it_knows_though_members_lived_there() -> None:
    node = linked_node("b")
    node.discovered("mdns", (ADDRESS["b"],), 0.0)
    node.link_down(1, "gone", 1.0)
    dials = [each for now in ticks(node, 3.0) for each in dialled(node.advance(now))]
    assert ADDRESS["b"] in dials


def test_whoever_dials_again_says_at_once_what_views_are_compared_by() -> None:
    node = make_node(peers=(ADDRESS["b"],))
    (dial,) = (each for each in node.advance(0.0) if isinstance(each, Dial))
    assert dial.first_words == ()
    node.link_up(1, identity("b"), met("b", is_outbound=True, dialled=ADDRESS["b"]), 0.1)
    node.link_down(1, "silence", 20.0)
    again: list[Dial] = []
    while not again:
        again = [each for each in node.advance(node.next_deadline()) if isinstance(each, Dial)]
    (word,) = again[0].first_words
    assert isinstance(word, Digest)
    assert word.members == 2
    assert may_travel_early(word)
    other = make_node("b")
    other.link_up(1, identity("a"), met("a", is_outbound=False), 0.1)
    assert sent(other.receive(1, word, 0.1), Heartbeat) == [], "both hold the same"
    other.link_up(2, identity("c"), met("c", is_outbound=False), 0.2)
    ((_, state),) = sent(other.receive(1, word, 0.3), Heartbeat)
    assert isinstance(state, Heartbeat)
    assert state.wants_reply
    assert identity("c").node_id in {each.node_id for each in state.rumours}


def test_node_that_moved_tells_where_it_is_and_does_not_dial_itself_there() -> None:
    node = linked_node("b")
    node.set_peers((ADDRESS["h"],), 0.0)
    effects = node.set_addresses((ADDRESS["h"],), 1.0)
    while (now := node.next_deadline()) < 3.0:
        effects += node.advance(now)
    own = identity("a").node_id
    told = [
        each
        for _, state in sent(effects, Heartbeat)
        if isinstance(state, Heartbeat)
        for each in state.rumours
        if each.node_id == own
    ]
    assert (told[0].addresses, told[0].incarnation) == ((ADDRESS["h"],), 1)
    assert ADDRESS["h"] not in dialled(effects)
