"""What a node tells of its queues: those for which something waits, the longest first."""

from __future__ import annotations

from bare_node import ask, linked_node
from maculaos.node.answers import QUEUES_MAX
from maculaos.pubsub.mailbox import Overflow
from maculaos.wire.events import Post, Watch
from maculaos.wire.values import Value, encode_value


def queues_after(*watches: Watch, events: int) -> Value:
    node = linked_node("b")
    for watch in watches:
        node.receive_from_client(1, watch, 0.0)
    payloads = tuple(encode_value(number) for number in range(events))
    node.receive_from_client(1, Post(0, "room.light", payloads), 0.0)
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    return stats["queues"]


def test_queues_are_told_longest_first_and_empty_ones_not_at_all() -> None:
    told = queues_after(
        Watch(1, 1, "room.light", credit=100),
        Watch(2, 2, "room.*", credit=0, queue=3, policy=Overflow.DROP_OLDEST),
        Watch(3, 3, "**", credit=0),
        events=5,
    )
    assert told == [
        {"client": 1, "pattern": "**", "group": "", "waiting": 5, "dropped": 0, "credit": 0},
        {"client": 1, "pattern": "room.*", "group": "", "waiting": 3, "dropped": 2, "credit": 0},
    ]


def test_no_more_queues_are_told_than_the_bound() -> None:
    many = (Watch(n, n, "room.light", credit=0) for n in range(1, QUEUES_MAX + 20))
    told = queues_after(*many, events=1)
    assert isinstance(told, list)
    assert len(told) == QUEUES_MAX
