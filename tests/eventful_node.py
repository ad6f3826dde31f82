"""A node with peers that want events, and what it tells of them; for tests of publish/subscribe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bare_node import HI, identity, linked_node, told
from maculaos.wire.events import (
    Delivery,
    Events,
    Interest,
    Watch,
    Wish,
)
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import decode_value

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node import Node

A, B, C, D = (bytes(identity(name).node_id) for name in "abcd")
LOTS = 1_000_000


def wanting(node: Node, link: int, name: str, *wishes: Wish, version: int = 1) -> None:
    """A peer says what its clients want."""
    node.receive(link, Interest(identity(name).node_id, 1, version, wishes), 0.0)


def watching(*peers: str, **limits: int) -> Node:
    """Node a, linked with these, whose client wants news."""
    node = linked_node(*peers, events=None, **limits)
    node.receive_from_client(1, Watch(0, 1, "news.*", LOTS), 0.0)
    return node


def deliveries(effects: list[Effect]) -> list[tuple[int, Delivery]]:
    """Runs for clients, with the clients."""
    found = told(effects)
    return [(client, each) for client, each in found if isinstance(each, Delivery)]


def answers(effects: list[Effect]) -> list[Any]:
    """What the results for clients hold, and the codes of errors."""
    values: list[Any] = []
    for _, message in told(effects):
        if isinstance(message, RpcResult):
            values.append(decode_value(message.payload))
        elif isinstance(message, RpcError):
            values.append(RpcErrorCode(message.code))
    return values


def run_of(name: str = "b", sequence: int = 5, **more: object) -> Events:
    """A run that a peer published."""
    return Events("news.x", identity(name).node_id, sequence, (HI,), **more)  # type: ignore[arg-type]
