"""Clients whose sockets are full: what is for them waits, in bounds, and goes on in steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from bare_node import HI, counter, sent
from eventful_node import LOTS, deliveries, run_of, wanting, watching
from maculaos.effects import SendToClient
from maculaos.wire.events import Post, Receipt, Taken, Watch, Wish
from maculaos.wire.messages import RpcError
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node import Node

QUEUE_BYTES = 65_536
KIBIBYTE = encode_value(b"x" * 1021)
STEP_BYTES = QUEUE_BYTES // 8


def full_node() -> Node:
    """Node a with two clients; the first wants news, and is full."""
    node = watching("b", client_queue_bytes=QUEUE_BYTES)
    node.client_up(2, 0.0)
    node.client_full(1)
    return node


def publish(node: Node, count: int, topic: str = "news.x", *, acknowledge: bool = False) -> None:
    """The second client publishes, one run after the other."""
    for number in range(count):
        post = Post(number + 1, topic, (KIBIBYTE,), acknowledge)
        assert deliveries(node.receive_from_client(2, post, 0.0)) == []


def events_in(effects: list[Effect]) -> int:
    return sum(len(each.payloads) for _, each in deliveries(effects))


def test_a_full_client_is_handed_nothing_and_all_of_it_in_steps_when_there_is_room() -> None:
    node = full_node()
    publish(node, 60)
    assert node.receive_from_client(1, Taken(1, 100), 0.0) == []
    steps = [events_in(node.client_room(1, 1.0))]
    while node.next_deadline() <= 1.0:
        steps.append(events_in(node.advance(1.0)))
    assert sum(steps) == 60
    assert max(steps) * len(KIBIBYTE) <= STEP_BYTES + len(KIBIBYTE)
    # From now on, at once.
    assert events_in(node.receive_from_client(2, Post(0, "news.x", (HI,)), 1.0)) == 1


def test_several_subscriptions_of_one_client_share_a_step() -> None:
    node = full_node()
    for number in range(2, 6):
        node.receive_from_client(1, Watch(0, number, "**", LOTS), 0.0)
    publish(node, 20)
    handed = events_in(node.client_room(1, 1.0))
    assert handed * len(KIBIBYTE) <= STEP_BYTES + len(KIBIBYTE)
    while node.next_deadline() <= 1.0:
        handed += events_in(node.advance(1.0))
    assert handed == 5 * 20


def test_a_client_that_fills_up_again_waits_again() -> None:
    node = full_node()
    publish(node, 60)
    first = events_in(node.client_room(1, 1.0))
    node.client_full(1)
    assert events_in(node.advance(1.0)) == 0
    assert node.next_deadline() > 1.0
    rest = events_in(node.client_room(1, 2.0))
    while node.next_deadline() <= 2.0:
        rest += events_in(node.advance(2.0))
    assert first + rest == 60


def test_what_a_full_client_has_no_room_for_is_dropped_and_counted() -> None:
    node = full_node()
    publish(node, 100)
    assert counter(node, "events_overflowed") == 100 - QUEUE_BYTES // len(KIBIBYTE)


def test_acknowledged_events_for_a_full_client_are_offered_again_when_there_is_room() -> None:
    node = full_node()
    last = 0
    refused = None
    for sequence in range(1, 101):
        run = run_of("b", sequence, acknowledge=True, after=last)
        run = msgspec.structs.replace(run, payloads=(KIBIBYTE,))
        assert deliveries(node.receive(1, run, 0.0)) == []
        if counter(node, "runs_refused"):
            refused = sequence
            break
        last = sequence
    assert refused == QUEUE_BYTES // len(KIBIBYTE) + 1
    assert counter(node, "events_overflowed") == 0
    effects = node.client_room(1, 1.0)
    while node.next_deadline() <= 1.0:
        effects += node.advance(1.0)
    assert events_in(effects) == last
    numbers = tuple(each.number for _, each in deliveries(effects))
    answered = node.receive_from_client(1, Taken(1, last, numbers), 1.0)
    assert sent(answered, Receipt)
    assert events_in(node.receive(1, run, 1.0)) == 1


def test_members_of_a_shared_subscription_with_room_take_what_a_full_one_cannot() -> None:
    node = watching("b")
    node.client_up(2, 0.0)
    for client in (1, 2):
        node.receive_from_client(client, Watch(0, 7, "jobs.*", LOTS, "workers"), 0.0)
    node.client_full(1)
    effects = [
        effect
        for _ in range(5)
        for effect in node.receive_from_client(2, Post(0, "jobs.x", (HI,)), 0.0)
    ]
    assert [client for client, _ in deliveries(effects)] == [2] * 5


def test_publishers_are_to_wait_for_full_clients_only_where_nobody_else_listens() -> None:
    node = full_node()
    assert node.waits_for_clients("news.x")
    assert not node.waits_for_clients("other")
    node.receive_from_client(2, Watch(0, 1, "news.local", LOTS), 0.0)
    assert node.waits_for_clients("news.x")
    assert not node.waits_for_clients("news.local")
    wanting(node, 1, "b", Wish("news.far"))
    assert not node.waits_for_clients("news.far")
    node.client_room(1, 0.0)
    assert not node.waits_for_clients("news.x")


def test_nobody_waits_with_what_is_no_topic_and_nothing_is_remembered_of_it() -> None:
    node = full_node()
    refused = node.receive_from_client(2, Post(9, "news.a b", (HI,)), 0.0)
    assert [type(each.message) for each in refused if isinstance(each, SendToClient)] == [RpcError]
    assert not node.waits_for_clients("news.a b")
    assert node._cores.messaging.deliveries._audiences.get("news.a b") is None


def test_a_full_client_that_goes_leaves_nothing_to_do() -> None:
    node = full_node()
    publish(node, 20)
    node.client_room(1, 1.0)
    node.client_full(1)
    node.client_down(1, 1.0)
    node.advance(1.0)
    assert math.inf > node.next_deadline() > 1.0
    assert not node.waits_for_clients("news.x")
