"""Envelopes: they end, they come from where links say, and hold only what may travel so."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bare_node import HI
from maculaos.effects import Effect, Send
from maculaos.errors import RemoteProtocolError
from maculaos.node.counters import Counters
from maculaos.node.links import Links
from maculaos.node.relay import Arrived, Relay
from maculaos.node.routing import MAX_HOPS, Routing
from maculaos.swim.members import Members
from maculaos.swim.rumour import Health
from maculaos.topology.rings import Rings
from maculaos.wire.events import Events, Interest
from maculaos.wire.messages import (
    Close,
    Handshake,
    Heartbeat,
    Message,
    PingRequest,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    encode_message,
)
from maculaos.wire.table import FindNode, Nodes, Routed, Seal
from node_parts import links_of, members_of, names, node_id, rumour
from simulation.world import REALM

CALL = RpcCall(1, "add", 1000, b"", HI)


@dataclass
class Place:
    """A relay, with what it counts, its links and whom it knows."""

    relay: Relay
    counters: Counters
    links: Links
    members: Members

    def receive(self, link: int, routed: Routed, now: float = 0.0) -> list[Effect] | Arrived:
        """An envelope comes in over the link of that number."""
        came_over = self.links.get(link)
        assert came_over is not None
        return self.relay.receive(came_over, routed, now)


def place(me: str, *linked: str, known: tuple[str, ...]) -> Place:
    """A node with links 1, 2, ..., in a realm of these members."""
    members = members_of(*(name for name in known if name != me))
    rings = Rings(REALM, 6, map(node_id, {*known, me}))
    counters, links = Counters(), links_of(me, *linked)
    routing = Routing(node_id(me), links, rings, members)
    return Place(Relay(node_id(me), members, routing, counters), counters, links, members)


def check_arrived(given: list[Effect] | Arrived, source: str, message: Message) -> None:
    """What came in the envelope is what was sent, from whom it was sent."""
    assert isinstance(given, Arrived)
    assert given.source == node_id(source)
    assert given.message is not None
    assert encode_message(given.message) == encode_message(message)


def envelope(
    target: str, source: str, message: Message | None = None, hops: int = MAX_HOPS
) -> Routed:
    """A message on its way."""
    return Routed(node_id(target), node_id(source), hops, encode_message(message or CALL))


def sealed(routed: Routed) -> Routed:
    """The same envelope under a seal; whether it is genuine is not the relay's business."""
    return msgspec.structs.replace(routed, seal=Seal(1, 2, 3, 4))


def only_send(effects: list[Effect] | Arrived) -> Send:
    """The one message that is sent."""
    assert isinstance(effects, list)
    (effect,) = effects
    assert isinstance(effect, Send)
    return effect


def test_message_to_a_neighbour_goes_over_its_link_as_it_is() -> None:
    here = place("me", "m0", "m1", known=names(5))
    sent = only_send(here.relay.send(node_id("m1"), CALL))
    assert (sent.link, sent.message) == (2, CALL)


def test_message_to_a_far_member_goes_in_an_envelope_that_names_both_ends() -> None:
    here = place("me", "m0", known=names(5))
    sent = only_send(here.relay.send(node_id("m3"), CALL))
    assert (sent.link, sent.message) == (1, envelope("m3", "me"))


def test_message_that_has_no_way_is_not_sent() -> None:
    here = place("me", known=names(5))
    assert here.relay.send(node_id("m3"), CALL) == []
    here = place("me", "m0", known=names(5))
    assert here.relay.send(node_id("stranger"), CALL) == []


def test_envelope_for_this_node_gives_what_it_held_and_its_source() -> None:
    here = place("me", "m0", known=names(5))
    question = FindNode(1, bytes(32))
    check_arrived(here.receive(1, envelope("me", "m3", question)), "m3", question)
    check_arrived(here.receive(1, sealed(envelope("me", "m3"))), "m3", CALL)


@given(
    target=st.sampled_from([*names(30), "stranger"]),
    source=st.sampled_from([*names(30), "stranger", "me"]),
    hops=st.integers(1, MAX_HOPS),
    linked=st.sets(st.sampled_from(names(30)), min_size=1, max_size=6),
)
def test_envelope_between_others_is_dropped_or_goes_on_with_one_link_less_and_never_back(
    target: str, source: str, hops: int, linked: set[str]
) -> None:
    peers = sorted(linked)
    here = place("me", *peers, known=names(30))
    given_back = here.receive(1, envelope(target, source, hops=hops))
    if given_back == []:
        assert (here.counters.envelopes_passed_on, here.counters.envelopes_dropped) == (0, 1)
        return
    sent = only_send(given_back)
    assert isinstance(sent.message, Routed)
    assert sent.message == envelope(target, source, hops=hops - 1)
    assert sent.message.hops >= 1
    assert sent.link != 1
    assert (here.counters.envelopes_passed_on, here.counters.envelopes_dropped) == (1, 0)


def test_envelope_at_the_end_of_its_links_is_dropped() -> None:
    here = place("me", "m0", "m1", known=names(5))
    only_send(here.receive(1, envelope("m1", "m0", hops=2)))
    assert here.receive(1, envelope("m1", "m0", hops=1)) == []


@given(
    graph=st.dictionaries(
        st.sampled_from(names(9)),
        st.sets(st.sampled_from(names(9)), max_size=4),
        min_size=9,
    ),
    views=st.lists(st.sets(st.sampled_from(names(9))), min_size=9, max_size=9),
)
def test_envelope_ends_whatever_the_nodes_between_believe(
    graph: dict[str, set[str]], views: list[set[str]]
) -> None:
    linked = {
        me: [each for each in names(9) if each != me and (each in graph[me] or me in graph[each])]
        for me in graph
    }
    places = {
        me: place(me, *linked[me], known=tuple(sorted({*view, *linked[me]})))
        for me, view in zip(sorted(graph), views, strict=True)
    }
    start = next((me for me in sorted(graph) if linked[me]), None)
    assume(start is not None)
    there, link, message = str(start), 1, envelope("m8", "m1")
    while True:
        effects = places[there].receive(link, message)
        if not effects or isinstance(effects, Arrived):
            break
        sent = only_send(effects)
        assert isinstance(sent.message, Routed)
        before, there, message = there, linked[there][sent.link - 1], sent.message
        link = linked[there].index(before) + 1
    passed = sum(each.counters.envelopes_passed_on for each in places.values())
    assert passed < MAX_HOPS


@pytest.mark.parametrize(
    "absurd",
    [
        Routed(node_id("m1"), node_id("m2"), 0, b""),
        Routed(node_id("m1"), node_id("m2"), MAX_HOPS + 1, b""),
        Routed(node_id("m1"), node_id("m2"), -1, b""),
        Routed(b"short", node_id("m2"), 1, b""),
        Routed(node_id("m1"), bytes(33), 1, b""),
    ],
)
def test_envelope_that_no_honest_neighbour_sends_is_refused(absurd: Routed) -> None:
    here = place("me", "m0", "m1", known=names(5))
    with pytest.raises(RemoteProtocolError):
        here.receive(1, absurd)


@pytest.mark.parametrize(
    "message",
    [
        envelope("me", "m3"),
        PingRequest(1, node_id("m2")),
        Heartbeat(()),
        Events("news", node_id("m3"), 1, (HI,), hops=4),
        Interest(node_id("m3"), 1, 1, ()),
        RpcRegister(("add",)),
        CALL,
        RpcResult(3, HI),
        RpcCancel(3),
        Close(0, "bye"),
        Handshake(1, REALM, node_id("m3"), "m3", (), "x"),
    ],
)
def test_what_needs_an_authenticated_sender_does_not_travel_in_an_envelope(
    message: Message,
) -> None:
    here = place("me", "m0", known=names(5))
    assert here.receive(1, envelope("me", "m3", message)) == []
    assert here.counters.envelopes_dropped == 1


@given(st.binary(max_size=64))
def test_rubbish_in_an_envelope_is_dropped_and_blamed_on_nobody(frame: bytes) -> None:
    here = place("me", "m0", known=names(5))
    for held in (frame, encode_message(CALL) + frame, encode_message(CALL)[:-1] + frame[:1]):
        given_back = here.receive(1, Routed(node_id("me"), node_id("m3"), 1, held))
        assert given_back == [] or isinstance(given_back, Arrived)


@pytest.mark.parametrize("health", [None, Health.DEAD, Health.LEFT])
def test_envelope_of_nobody_is_dropped(health: Health | None) -> None:
    here = place("me", "m0", known=names(5))
    if health is not None:
        here.members.put(rumour("x"), 0.0)
        here.members.put(rumour("x", health), 0.0)
    assert here.receive(1, envelope("me", "x")) == []
    assert here.counters.envelopes_dropped == 1


def test_neighbour_that_floods_is_heard_so_often_a_second_and_others_are_heard_still() -> None:
    here = place("me", "m0", "m1", known=names(5))
    flood = envelope("m1", "m3", Nodes(1, ()))
    for _ in range(6_000):
        here.receive(1, flood, 7.0)
    assert (here.counters.envelopes_passed_on, here.counters.envelopes_dropped) == (5_000, 1_000)
    question = envelope("me", "m3", FindNode(1, bytes(32)))
    assert isinstance(here.receive(2, question, 7.5), Arrived)
    assert isinstance(here.receive(1, question, 8.0), Arrived)


def test_answer_and_call_arrive_as_they_were_sent() -> None:
    here = place("me", "m0", known=names(5))
    for message in (FindNode(1, bytes(32)), Nodes(1, ())):
        check_arrived(here.receive(1, envelope("me", "m3", message, hops=1)), "m3", message)
    for part in (CALL, RpcResult(3, HI), RpcError(3, 1), RpcCancel(3), RpcCredit(3, 9)):
        letter = sealed(envelope("me", "m3", part, hops=1))
        check_arrived(here.receive(1, letter), "m3", part)


def numbers_of(effects: list[Effect]) -> list[int]:
    """The links that these go over."""
    return [each.link for each in effects if isinstance(each, Send)]


def test_answer_goes_back_over_the_link_that_its_question_came_in_on() -> None:
    there = names(20)
    far, near = there[-1], there[1:7]
    here = place(there[0], *near, known=there)
    for number in range(1, 7):
        link = here.links.get(number)
        sent = here.relay.send(node_id(far), Nodes(1, ()), back_over=link)
        assert numbers_of(sent) == [number]


def test_question_that_was_not_answered_goes_another_way() -> None:
    there = names(20)
    here = place(there[0], *there[1:7], known=there)
    question = FindNode(1, bytes(32))
    (usual,) = numbers_of(here.relay.send(node_id(there[-1]), question))
    again = [
        number
        for _ in range(10)
        for number in numbers_of(here.relay.send(node_id(there[-1]), question, is_again=True))
    ]
    assert usual not in again
    assert len(set(again)) == 5


def test_envelope_that_would_go_back_takes_another_way_or_ends() -> None:
    there = names(20)
    here = place(there[0], *there[1:7], known=there)
    target = node_id(there[-1])
    (usual,) = numbers_of(here.relay.send(target, FindNode(1, bytes(32))))
    routed = Routed(target, node_id(there[9]), 5, b"")
    passed_on = here.receive(usual, routed)
    assert isinstance(passed_on, list)
    assert numbers_of(passed_on) != [usual]
    assert len(numbers_of(passed_on)) == 1
    alone = place(there[0], there[1], known=there)
    assert alone.receive(1, routed) == []


def test_seal_goes_on_with_its_envelope_as_it_is() -> None:
    here = place("me", "m0", "m1", known=names(5))
    letter = sealed(envelope("m1", "m0", hops=5))
    sent = only_send(here.receive(1, letter))
    assert sent.message == msgspec.structs.replace(letter, hops=4)


def test_nothing_but_a_seal_arrives_and_nothing_at_all_does_not() -> None:
    here = place("me", "m0", known=names(5))
    empty = Routed(node_id("me"), node_id("m3"), 3, b"")
    assert here.receive(1, empty) == []
    arrived = here.receive(1, sealed(empty))
    assert isinstance(arrived, Arrived)
    assert arrived.message is None


def test_question_does_not_travel_under_a_seal() -> None:
    here = place("me", "m0", known=names(5))
    assert here.receive(1, sealed(envelope("me", "m3", FindNode(1, bytes(32))))) == []
