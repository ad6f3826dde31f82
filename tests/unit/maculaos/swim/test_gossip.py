"""The gossip queue: each rumour rides a bounded number of times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.gossip import RUMOURS_PER_PACKET, GossipQueue
from maculaos.swim.rumour import Health, Rumour


def rumour(number: int, incarnation: int = 0) -> Rumour:
    node_id = NodeId(number.to_bytes(32))
    return Rumour(incarnation, Health.ALIVE, (), f"n{number}", node_id)


@given(st.integers(0, 60), st.integers(1, 8))
def test_every_rumour_rides_exactly_as_often_as_its_budget(count: int, budget: int) -> None:
    queue = GossipQueue()
    for number in range(count):
        queue.put(rumour(number))
    rides = dict.fromkeys(range(count), 0)
    while queue:
        taken = queue.take(budget)
        assert 0 < len(taken) <= RUMOURS_PER_PACKET
        for each in taken:
            rides[int.from_bytes(each.node_id)] += 1
    assert set(rides.values()) <= {budget}


def test_the_least_sent_go_first() -> None:
    queue = GossipQueue()
    queue.put(rumour(1))
    queue.take(budget=9)
    queue.put(rumour(2))
    assert queue.take(budget=9, count=1) == (rumour(2),)


def test_newer_news_replaces_older_and_starts_with_a_full_budget() -> None:
    queue = GossipQueue()
    queue.put(rumour(1))
    queue.take(budget=2)
    queue.put(rumour(1, incarnation=5))
    assert [queue.take(budget=2), queue.take(budget=2)] == [(rumour(1, 5),)] * 2
    assert not queue


def test_what_is_forgotten_is_not_said() -> None:
    queue = GossipQueue()
    queue.put(rumour(1))
    queue.forget(rumour(1).node_id)
    assert queue.take(budget=3) == ()
