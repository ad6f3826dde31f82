"""Events reach who wants them, once; interest is announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from bare_node import ADDRESS, HI, ask, closed, counter, identity, linked_node, met, sent, told
from maculaos.effects import Send
from maculaos.node.events import MAX_HOPS
from maculaos.settings import EventSettings
from maculaos.wire.messages import (
    Error,
    Event,
    Heartbeat,
    Publish,
    RpcError,
    RpcRegister,
    RpcResult,
    Rumour,
    Subscribe,
    Unsubscribe,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode, StreamClass
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.node import Node


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
    assert Send(1, subscribe, control) in node.receive_from_client(1, subscribe, 0.0)
    assert sent(node.receive_from_client(2, subscribe, 0.0), Subscribe) == []
    assert sent(node.receive_from_client(1, unsubscribe, 0.0), Unsubscribe) == []
    assert Send(1, unsubscribe, control) in node.client_down(2, 0.0)


def test_a_new_link_hears_of_interest_and_methods() -> None:
    node = linked_node()
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    effects = node.link_up(9, identity("b"), met("b", is_outbound=False), 0.0)
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


def acquainted_node(*strangers: str) -> Node:
    """Node a, linked to b and c, that heard of others."""
    node = linked_node("b", "c")
    known = [
        Rumour(bytes(identity(name).node_id), name, (ADDRESS[name],), 0, 0) for name in strangers
    ]
    node.receive(1, Heartbeat(tuple(known)), 0.0)
    return node


def test_node_that_is_not_linked_to_all_floods_what_it_publishes() -> None:
    effects = acquainted_node("d").receive_from_client(1, Publish(7, "news", HI), 0.0)
    events = sent(effects, Event)
    assert [link for link, _ in events] == [1, 2]
    assert {event.hops for _, event in events if isinstance(event, Event)} == {MAX_HOPS}


def test_flooded_event_is_passed_on_once_and_not_back() -> None:
    node = acquainted_node("d")
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    event = Event("news", identity("d").node_id, 5, HI, 9)
    effects = node.receive(1, event, 0.0)
    assert told(effects) == [(1, event)]
    assert sent(effects, Event) == [(2, Event("news", identity("d").node_id, 5, HI, 8))]
    assert node.receive(2, event, 0.0) == []


def test_flood_ends_with_its_hops_and_at_its_publisher() -> None:
    node = acquainted_node("d")
    assert node.receive(1, Event("news", identity("d").node_id, 5, HI, 1), 0.0) == []
    assert node.receive(1, Event("news", identity("a").node_id, 6, HI, 9), 0.0) == []


@pytest.mark.parametrize("hops", [-1, 0, MAX_HOPS, MAX_HOPS + 1])
def test_event_in_the_name_of_another_is_refused_where_only_its_publisher_may_speak(
    hops: int,
) -> None:
    effects = acquainted_node("d").receive(1, Event("n", identity("d").node_id, 5, HI, hops), 0.0)
    assert closed(effects) == [(1, ErrorCode.MALFORMED)]


class CheapSeal:
    """A seal that stands for real signatures: the word of the publisher itself."""

    def sign(self, event: Event) -> Event:
        return msgspec.structs.replace(event, public_key=event.publisher, signature=b"genuine")

    def is_genuine(self, event: Event) -> bool:
        return (event.public_key, event.signature) == (event.publisher, b"genuine")


def sealed_node(**wants: bool) -> Node:
    """Node a, linked with b, that signs or asks for signatures."""
    node = linked_node("b", events=EventSettings(**wants))
    node.seal_events(CheapSeal())
    node.receive_from_client(1, Subscribe(("news",)), 0.0)
    return node


def test_what_is_published_is_signed_if_the_settings_say_so() -> None:
    for sign in (True, False):
        node = sealed_node(sign=sign)
        node.receive(1, Subscribe(("news",)), 0.0)
        ((_, event),) = sent(node.receive_from_client(1, Publish(7, "news", HI), 0.0), Event)
        assert isinstance(event, Event)
        assert bool(event.signature) is sign


def test_forged_event_is_not_delivered_and_does_not_hide_the_genuine_one() -> None:
    node = sealed_node()
    genuine = CheapSeal().sign(Event("news", identity("b").node_id, 5, HI))
    forged = msgspec.structs.replace(genuine, signature=b"forged")
    assert told(node.receive(1, forged, 0.0)) == []
    assert told(node.receive(1, genuine, 0.0)) == [(1, genuine)]
    assert counter(node, "events_refused") == 1


def test_unsigned_event_is_refused_where_a_signature_is_asked_for() -> None:
    plain = Event("news", identity("b").node_id, 5, HI)
    assert told(sealed_node(require_signature=True).receive(1, plain, 0.0)) == []
    assert told(sealed_node().receive(1, plain, 0.0)) == [(1, plain)]
