"""One node, message by message: links, events, calls, its own answers, and bad peers."""

from __future__ import annotations

import hashlib
import math
import random
from dataclasses import replace

import pytest
from msgspec import Raw

from maculaos.effects import CloseClient, CloseLink, Dial, Effect, Note, Send, SendToClient
from maculaos.identity import Identity, NodeId
from maculaos.node import Node
from maculaos.settings import LimitSettings
from maculaos.wire.messages import (
    Close,
    Error,
    Event,
    Handshake,
    Heartbeat,
    Message,
    Ping,
    Pong,
    Publish,
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
    Rumour,
    Subscribe,
    Unsubscribe,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode, StreamClass
from maculaos.wire.values import Value, decode_value, encode_value
from simulation.world import REALM, settings_for

HI = encode_value("hi")
ADDRESS = {name: f"127.0.0.1:{port}" for port, name in enumerate("abcdefgh", start=4701)}


def identity(name: str) -> Identity:
    return Identity(REALM, NodeId(hashlib.sha256(name.encode()).digest()), name)


def make_node(
    name: str = "a", peers: tuple[str, ...] = (), limits: LimitSettings | None = None
) -> Node:
    settings = settings_for(name, ADDRESS[name], peers)
    settings = replace(settings, limits=limits or LimitSettings())
    rng = random.Random(3)  # noqa: S311  # a seed replays the run
    return Node(identity(name), settings, rng, 0.0, "test 1.0")


def linked_node(*peers: str, **limits: int) -> Node:
    """Node a with one client (1), and links 1, 2, ... to the named peers."""
    node = make_node(limits=LimitSettings(**limits))
    node.client_up(1, 0.0)
    for number, peer in enumerate(peers, start=1):
        node.link_up(number, identity(peer), (ADDRESS[peer],), True, 0.0)
    return node


def sent(effects: list[Effect], kind: type[Message]) -> list[tuple[int, Message]]:
    return [
        (each.link, each.message)
        for each in effects
        if isinstance(each, Send) and isinstance(each.message, kind)
    ]


def told(effects: list[Effect]) -> list[tuple[int, Message]]:
    return [(each.client, each.message) for each in effects if isinstance(each, SendToClient)]


def closed(effects: list[Effect]) -> list[tuple[int, ErrorCode]]:
    return [(each.link, each.code) for each in effects if isinstance(each, CloseLink)]


def dialled(effects: list[Effect]) -> list[str]:
    return [each.address for each in effects if isinstance(each, Dial)]


def ask(node: Node, method: str, argument: Value = None) -> Value:
    call = RpcCall(1, method, 1000, b"", encode_value(argument))
    ((_, answer),) = told(node.receive_from_client(1, call, 0.0))
    assert isinstance(answer, RpcResult), answer
    return decode_value(answer.payload)


def counter(node: Node, name: str) -> Value:
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    counters = stats["counters"]
    assert isinstance(counters, dict)
    return counters[name]


def smaller_and_larger() -> tuple[str, str]:
    smaller, larger = sorted("ab", key=lambda name: identity(name).node_id)
    return smaller, larger


# Links and dials


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


def test_members_heard_of_are_dialled_by_the_smaller_id_first() -> None:
    smaller, larger = smaller_and_larger()
    for name, other, at_once in ((smaller, larger, True), (larger, smaller, False)):
        node = make_node(name)
        node.link_up(1, identity("c"), (ADDRESS["c"],), False, 0.0)
        about = Rumour(identity(other).node_id, other, (ADDRESS[other],), 0, 0)
        node.receive(1, Heartbeat((about,)), 0.0)
        assert (dialled(node.advance(0.0)) == [ADDRESS[other]]) is at_once
        later = [each for _ in range(9) for each in dialled(node.advance(node.next_deadline()))]
        assert (ADDRESS[other] in later) is not at_once


@pytest.mark.parametrize("first_is_outbound", [True, False])
def test_simultaneous_dials_settle_on_the_one_by_the_smaller_id(first_is_outbound: bool) -> None:
    smaller, larger = smaller_and_larger()
    for name, peer in ((smaller, larger), (larger, smaller)):
        node = make_node(name)
        effects = node.link_up(1, identity(peer), (ADDRESS[peer],), first_is_outbound, 0.0)
        effects += node.link_up(2, identity(peer), (ADDRESS[peer],), not first_is_outbound, 0.1)
        outbound, inbound = (1, 2) if first_is_outbound else (2, 1)
        lost = inbound if name == smaller else outbound
        assert closed(effects) == [(lost, ErrorCode.DUPLICATE_LINK)]


def test_of_two_links_by_one_dialler_the_newer_wins() -> None:
    node = linked_node()
    node.link_up(1, identity("b"), (ADDRESS["b"],), False, 0.0)
    effects = node.link_up(2, identity("b"), (ADDRESS["b"],), False, 0.1)
    assert closed(effects) == [(1, ErrorCode.DUPLICATE_LINK)]


@pytest.mark.parametrize("name", smaller_and_larger())
def test_a_peer_that_lost_the_old_link_long_ago_is_not_locked_out(name: str) -> None:
    peer = "a" if name == "b" else "b"
    node = make_node(name)
    node.link_up(1, identity(peer), (ADDRESS[peer],), True, 0.0)
    effects = node.link_up(2, identity(peer), (ADDRESS[peer],), False, 60.0)
    assert closed(effects) == [(1, ErrorCode.DUPLICATE_LINK)]


def test_a_node_that_dials_itself_stops_doing_so() -> None:
    node = make_node(peers=("localhost:9",))
    node.advance(0.0)
    effects = node.link_up(1, identity("a"), (ADDRESS["a"],), True, 0.1)
    assert closed(effects) == [(1, ErrorCode.SELF_DIALLED)]
    later = [each for _ in range(200) for each in dialled(node.advance(node.next_deadline()))]
    assert later == []


def test_an_alias_of_a_linked_peer_is_not_dialled_again() -> None:
    node = make_node(peers=("localhost:4702",))
    node.advance(0.0)
    node.link_up(1, identity("b"), (ADDRESS["b"],), True, 0.1)
    for _ in range(200):
        effects = node.advance(node.next_deadline())
        assert dialled(effects) == []
        for link, ping in sent(effects, Ping):
            assert isinstance(ping, Ping)
            node.receive(link, Pong(ping.sequence), 0.1)


def test_links_beyond_the_limit_are_refused() -> None:
    node = linked_node("b", links=1)
    effects = node.link_up(2, identity("c"), (ADDRESS["c"],), False, 0.0)
    assert closed(effects) == [(2, ErrorCode.LIMIT_EXCEEDED)]


def test_another_realm_is_refused() -> None:
    stranger = replace(identity("b"), realm="elsewhere")
    effects = make_node().link_up(1, stranger, (ADDRESS["b"],), False, 0.0)
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
    late = node.link_up(3, identity("d"), (ADDRESS["d"],), False, 2.0)
    assert closed(late) == [(3, ErrorCode.SHUTTING_DOWN)]


# Events


def test_an_event_goes_to_who_wants_it_and_to_nobody_else() -> None:
    node = linked_node("b", "c")
    for client in (2, 3):
        node.client_up(client, 0.0)
    node.receive(1, Subscribe(("news",)), 0.0)
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    node.receive_from_client(2, Subscribe(("news", "other")), 0.0)
    effects = node.receive_from_client(1, Publish(7, "news", HI), 0.0)
    ((link, event),) = sent(effects, Event)
    assert link == 1
    assert isinstance(event, Event)
    assert (event.topic, event.publisher) == ("news", identity("a").node_id)
    assert told(effects) == [(1, event), (2, event), (1, RpcResult(7, encode_value(None)))]


def test_an_event_from_a_peer_is_delivered_once() -> None:
    node = linked_node("b")
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    event = Event("news", identity("b").node_id, 5, HI)
    assert told(node.receive(1, event, 0.0)) == [(1, event)]
    assert node.receive(1, event, 0.0) == []
    assert [counter(node, name) for name in ("events_in", "events_dropped")] == [2, 1]


def test_interest_is_announced_when_it_begins_and_when_it_ends() -> None:
    node = linked_node("b")
    node.client_up(2, 0.0)
    subscribe, unsubscribe = Subscribe(("news",)), Unsubscribe(("news",))
    control = StreamClass.CONTROL
    assert node.receive_from_client(1, subscribe, 0.0) == [Send(1, subscribe, control)]
    assert node.receive_from_client(2, subscribe, 0.0) == []
    assert node.receive_from_client(1, unsubscribe, 0.0) == []
    assert node.client_down(2, 0.0) == [Send(1, unsubscribe, control)]


def test_a_new_link_hears_of_interest_and_methods() -> None:
    node = linked_node()
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    effects = node.link_up(9, identity("b"), (ADDRESS["b"],), False, 0.0)
    assert sent(effects, Subscribe) == [(9, Subscribe(("news",)))]
    assert sent(effects, RpcRegister) == [(9, RpcRegister(("add",)))]


def test_bad_topics_of_clients_are_refused_and_the_client_stays() -> None:
    node = linked_node("b")
    ((_, answer),) = told(node.receive_from_client(1, Publish(7, "not good", HI), 0.0))
    assert isinstance(answer, RpcError)
    assert (answer.call, answer.code) == (7, RpcErrorCode.INVALID_REQUEST)
    ((_, refused),) = told(node.receive_from_client(1, Subscribe(("a.*",)), 0.0))
    assert isinstance(refused, Error)
    assert ask(node, "macula.ping") == {"name": "a", "node_id": identity("a").node_id.hex()}


# Calls


def call(number: int = 7, method: str = "add", deadline_ms: int = 1000) -> RpcCall:
    return RpcCall(number, method, deadline_ms, b"", HI)


def test_a_call_goes_to_a_local_provider_first() -> None:
    node = linked_node("b")
    node.client_up(2, 0.0)
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(2, RpcRegister(("add",)), 0.0)
    ((provider, handed),) = told(node.receive_from_client(1, call(), 0.0))
    assert provider == 2
    assert isinstance(handed, RpcCall)
    assert handed.caller == identity("a").node_id
    answers = node.receive_from_client(2, RpcResult(handed.call, HI), 0.0)
    assert answers == [SendToClient(1, RpcResult(7, HI))]


def test_a_call_goes_to_the_peers_that_offer_it_in_turn_and_the_result_comes_back() -> None:
    node = linked_node("b", "c", "d")
    for link in (1, 3):
        node.receive(link, RpcRegister(("add",)), 0.0)
    for number, link in enumerate((1, 3, 1, 3)):
        ((chosen, handed),) = sent(node.receive_from_client(1, call(number), 0.0), RpcCall)
        assert chosen == link
        assert isinstance(handed, RpcCall)
        answers = node.receive(link, RpcError(handed.call, 3, "no"), 0.0)
        assert answers == [SendToClient(1, RpcError(number, 3, "no"))]


def test_a_call_from_a_peer_is_answered_by_a_client_and_names_its_real_caller() -> None:
    node = linked_node("b", "c")
    node.receive(2, RpcRegister(("far",)), 0.0)
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    forged = RpcCall(7, "add", 1000, identity("c").node_id, HI)
    ((_, handed),) = told(node.receive(1, forged, 0.0))
    assert isinstance(handed, RpcCall)
    assert handed.caller == identity("b").node_id
    answers = node.receive_from_client(1, RpcResult(handed.call, HI), 0.0)
    assert answers == [Send(1, RpcResult(7, HI), StreamClass.MESSAGES)]
    ((_, refused),) = sent(node.receive(1, call(8, "far"), 0.0), RpcError)
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.NO_PROVIDER


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (call(method="unknown"), RpcErrorCode.NO_PROVIDER),
        (call(deadline_ms=0), RpcErrorCode.INVALID_REQUEST),
        (call(deadline_ms=10**9), RpcErrorCode.INVALID_REQUEST),
        (call(method="macula.reload"), RpcErrorCode.INVALID_REQUEST),
    ],
)
def test_a_call_that_cannot_be_is_refused_at_once(message: RpcCall, code: RpcErrorCode) -> None:
    node = linked_node()
    ((_, answer),) = told(node.receive_from_client(1, message, 0.0))
    assert isinstance(answer, RpcError)
    assert (answer.call, answer.code) == (7, code)


def test_a_lost_provider_and_a_missed_deadline_are_told() -> None:
    node = linked_node("b")
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(1, call(1, deadline_ms=100), 0.0)
    assert node.next_deadline() <= 0.1
    expired = [each for _, each in told(node.advance(0.1)) if isinstance(each, RpcError)]
    assert [(each.call, each.code) for each in expired] == [(1, RpcErrorCode.DEADLINE_EXCEEDED)]
    assert node.receive(1, RpcResult(1, HI), 0.2) == []
    assert counter(node, "results_late") == 1
    node.receive_from_client(1, call(2), 0.2)
    lost = [each for _, each in told(node.link_down(1, "gone", 0.3)) if isinstance(each, RpcError)]
    assert [(each.call, each.code) for each in lost] == [(2, RpcErrorCode.PROVIDER_LOST)]


def test_too_many_waiting_calls_are_refused() -> None:
    node = linked_node("b", pending_calls=2)
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(1, call(1), 0.0)
    ((_, answer),) = told(node.receive_from_client(1, call(2), 0.0))
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.OVERLOADED


def test_methods_of_the_node_cannot_be_offered_nor_reached_from_elsewhere() -> None:
    node = linked_node("b")
    ((_, refused),) = told(node.receive_from_client(1, RpcRegister(("macula.ping",)), 0.0))
    assert isinstance(refused, Error)
    ((_, answer),) = sent(node.receive(1, call(method="macula.members"), 0.0), RpcError)
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.INVALID_REQUEST


def test_unregistered_methods_are_no_longer_announced_or_called() -> None:
    node = linked_node("b")
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    effects = node.receive_from_client(1, RpcUnregister(("add",)), 0.0)
    assert sent(effects, RpcUnregister) == [(1, RpcUnregister(("add",)))]
    ((_, answer),) = told(node.receive_from_client(1, call(), 0.0))
    assert isinstance(answer, RpcError)


# What the node answers itself


def test_members_list_this_node_first_and_tell_who_is_linked() -> None:
    node = linked_node("b")
    node.receive(1, Heartbeat((Rumour(identity("c").node_id, "c", (ADDRESS["c"],), 2, 0),)), 0.0)
    listed = ask(node, "macula.members")
    assert isinstance(listed, list)
    shown = [
        (each["name"], each["is_self"], each["linked"], each["health"], each["incarnation"])
        for each in listed
        if isinstance(each, dict)
    ]
    assert shown == [
        ("a", True, False, "alive", 0),
        ("b", False, True, "alive", 0),
        ("c", False, False, "alive", 2),
    ]


def test_stats_version_and_topology_are_answered() -> None:
    node = linked_node("b")
    stats, version, topology = (
        ask(node, f"macula.{name}") for name in ("stats", "version", "topology")
    )
    assert isinstance(stats, dict)
    assert isinstance(version, dict)
    assert isinstance(topology, dict)
    assert stats["links"] == stats["clients"] == 1
    assert stats["members"] == {"alive": 2, "suspect": 0, "dead": 0, "left": 0}
    assert version["software"] == "test 1.0"
    assert [each["name"] for each in topology["neighbours"]] == ["b"]  # type: ignore[union-attr, index, call-overload]


def test_join_dials_and_bad_addresses_are_refused() -> None:
    node = linked_node()
    wish = encode_value({"address": ADDRESS["b"]})
    effects = node.receive_from_client(1, RpcCall(1, "macula.join", 1000, b"", wish), 0.0)
    assert dialled(effects) == [ADDRESS["b"]]
    wishes: tuple[Value, ...] = ({"address": "nonsense"}, {"address": 7}, None)
    for bad in wishes:
        join = RpcCall(1, "macula.join", 1000, b"", encode_value(bad))
        ((_, answer),) = told(node.receive_from_client(1, join, 0.0))
        assert isinstance(answer, RpcError)
        assert answer.code == RpcErrorCode.INVALID_REQUEST
    torn = RpcCall(1, "macula.join", 1000, b"", Raw(b"\xc1"))
    ((_, answer),) = told(node.receive_from_client(1, torn, 0.0))
    assert isinstance(answer, RpcError)


# Peers and clients that misbehave


def about(**changes: object) -> Heartbeat:
    saying: dict[str, object] = {
        "node_id": bytes(32),
        "name": "x",
        "addresses": (),
        "incarnation": 0,
        "health": 0,
    }
    return Heartbeat((Rumour(**(saying | changes)),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        about(node_id=b"short"),
        about(name="Not A Name"),
        about(addresses=("nonsense",)),
        about(addresses=("10.0.0.1:1",) * 9),
        about(incarnation=-1),
        about(incarnation=2**60),
        about(health=9),
        Heartbeat(about().rumours * 50),
        Subscribe(("not good",)),
        Subscribe(tuple(f"t{number}" for number in range(50))),
        RpcRegister(("macula.ping",)),
        Event("news", bytes(32), 1, HI),
        Publish(1, "news", HI),
        Handshake(1, REALM, bytes(32), "b", (), "x"),
    ],
)
def test_a_peer_that_breaks_the_protocol_loses_its_link_and_the_node_goes_on(
    message: Message,
) -> None:
    node = linked_node("b", "c", subscriptions=20, members=20)
    assert closed(node.receive(1, message, 0.0)) == [(1, ErrorCode.MALFORMED)]
    assert node.receive(1, message, 0.0) == []
    assert counter(node, "peers_malformed") == 1
    assert sent(node.receive(2, Ping(5), 0.0), Pong)


def test_a_false_name_for_this_node_is_dropped() -> None:
    node = linked_node("b")
    node.receive(1, about(node_id=identity("a").node_id, name="z", incarnation=5, health=2), 0.0)
    listed = ask(node, "macula.members")
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    assert (listed[0]["name"], listed[0]["incarnation"]) == ("a", 0)


def test_complaints_and_farewells_of_peers_are_noted() -> None:
    node = linked_node("b")
    for message in (Error(3, "x" * 9999), Close(10, "bye")):
        (note,) = node.receive(1, message, 0.0)
        assert isinstance(note, Note)
        assert all(len(value) <= 200 for _, value in note.facts)


def test_a_client_that_speaks_like_a_peer_is_closed() -> None:
    node = linked_node()
    (effect,) = node.receive_from_client(1, Ping(1), 0.0)
    assert isinstance(effect, CloseClient)
    assert node.receive_from_client(1, Publish(1, "news", HI), 0.0) == []


def test_clients_beyond_the_limit_are_refused() -> None:
    node = linked_node(clients=1)
    (effect,) = node.client_up(2, 0.0)
    assert isinstance(effect, CloseClient)
    assert effect.code is ErrorCode.LIMIT_EXCEEDED


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
