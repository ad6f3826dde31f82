"""A node's core without shells, fed by hand: messages in, effects out; for tests."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from maculaos.effects import CloseLink, Dial, Effect, Send, SendToClient
from maculaos.identity import Identity, NodeId
from maculaos.node import Introduction, Node
from maculaos.settings import EventSettings, LimitSettings
from maculaos.wire.messages import Message, RpcCall, RpcResult
from maculaos.wire.values import Value, decode_value, encode_value
from simulation.hosts import LetterSealOf
from simulation.world import REALM, notary_of, settings_for

if TYPE_CHECKING:
    from maculaos.wire.registry import ErrorCode

HI = encode_value("hi")
ADDRESS = {name: f"127.0.0.1:{port}" for port, name in enumerate("abcdefgh", start=4701)}


def identity(name: str) -> Identity:
    """The identity of a node of that name."""
    return Identity(REALM, NodeId(hashlib.sha256(name.encode()).digest()), name)


def met(name: str, *, is_outbound: bool, life: int = 1, dialled: str | None = None) -> Introduction:
    """How a node of that name introduces itself on a new link."""
    return Introduction(
        addresses=(ADDRESS[name],), is_outbound=is_outbound, dialled=dialled, life=life
    )


def make_node(
    name: str = "a",
    peers: tuple[str, ...] = (),
    limits: LimitSettings | None = None,
    events: EventSettings | None = None,
) -> Node:
    """A node that nobody is linked to, at time 0."""
    settings = settings_for(name, ADDRESS[name], peers)
    settings = replace(settings, limits=limits or LimitSettings(), events=events or EventSettings())
    rng = random.Random(3)  # a seed replays the run
    node = Node(identity(name), settings, notary_of(identity(name)), rng, 0.0, "test 1.0")
    node.seal_letters(LetterSealOf(identity(name)))
    return node


def linked_node(*peers: str, events: EventSettings | None = None, **limits: int) -> Node:
    """Node a with one client (1), and links 1, 2, ... to the named peers."""
    node = make_node(limits=LimitSettings(**limits), events=events)
    node.client_up(1, 0.0)
    for number, peer in enumerate(peers, start=1):
        node.link_up(number, identity(peer), met(peer, is_outbound=True), 0.0)
    return node


def sent(effects: list[Effect], kind: type[Message]) -> list[tuple[int, Message]]:
    """Messages of that kind for peers, with their links."""
    return [
        (each.link, each.message)
        for each in effects
        if isinstance(each, Send) and isinstance(each.message, kind)
    ]


def told(effects: list[Effect]) -> list[tuple[int, Message]]:
    """Messages for clients, with the clients."""
    return [(each.client, each.message) for each in effects if isinstance(each, SendToClient)]


def closed(effects: list[Effect]) -> list[tuple[int, ErrorCode]]:
    """Links to close, with the codes."""
    return [(each.link, each.code) for each in effects if isinstance(each, CloseLink)]


def dialled(effects: list[Effect]) -> list[str]:
    """Addresses to dial."""
    return [each.address for each in effects if isinstance(each, Dial)]


def ask(node: Node, method: str, argument: Value = None) -> Value:
    """What the node itself answers to client 1."""
    call = RpcCall(1, method, 1000, b"", encode_value(argument))
    ((_, answer),) = told(node.receive_from_client(1, call, 0.0))
    assert isinstance(answer, RpcResult), answer
    return decode_value(answer.payload)


def counter(node: Node, name: str) -> Value:
    """One of the node's counters."""
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    counters = stats["counters"]
    assert isinstance(counters, dict)
    return counters[name]


def smaller_and_larger() -> tuple[str, str]:
    """The names a and b in the order of their node ids."""
    smaller, larger = sorted("ab", key=lambda name: identity(name).node_id)
    return smaller, larger


def call(number: int = 7, method: str = "add", deadline_ms: int = 1000) -> RpcCall:
    """A call by a client or peer."""
    return RpcCall(number, method, deadline_ms, b"", HI)
