"""Peers and clients that break the rules lose their place; the node goes on."""

from __future__ import annotations

import pytest

from bare_node import HI, ask, closed, counter, identity, linked_node, sent
from maculaos.effects import CloseClient, Note
from maculaos.wire.events import Events, Interest, Post, Wish
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    Heartbeat,
    Message,
    Ping,
    Pong,
    RpcRegister,
    Rumour,
)
from maculaos.wire.registry import ErrorCode
from simulation.world import REALM


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
        Interest(bytes(32), 1, 1, (Wish("not good"),)),
        Interest(b"short", 1, 1, ()),
        RpcRegister(("macula.ping",)),
        Events("news", bytes(32), 1, (HI,)),
        Post(1, "news", (HI,)),
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


def test_a_false_name_for_this_node_is_refuted() -> None:
    node = linked_node("b")
    node.receive(1, about(node_id=identity("a").node_id, name="z", incarnation=5, health=2), 0.0)
    listed = ask(node, "macula.members")
    assert isinstance(listed, list)
    assert isinstance(listed[0], dict)
    assert (listed[0]["name"], listed[0]["incarnation"]) == ("a", 6)


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
    assert node.receive_from_client(1, Post(1, "news", (HI,)), 0.0) == []


def test_clients_beyond_the_limit_are_refused() -> None:
    node = linked_node(clients=1)
    (effect,) = node.client_up(2, 0.0)
    assert isinstance(effect, CloseClient)
    assert effect.code is ErrorCode.LIMIT_EXCEEDED
