"""Gossip is told once over each link, not to whom it came from, and to a bounded number."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from maculaos.swim.gossip import PIGGYBACK_SIZE, RUMOURS_PER_FRAME, GossipQueue
from unit.maculaos.swim.swarm import rumour_of

if TYPE_CHECKING:
    from maculaos.swim.rumour import Rumour

PEERS = [rumour_of(1000 + number).node_id for number in range(8)]
NEWS = rumour_of(1)


def queue(peers: int) -> GossipQueue:
    made = GossipQueue(random.Random(1))  # a seed replays the run
    for peer in PEERS[:peers]:
        made.open(peer)
    return made


def drain(of: GossipQueue, fanout: int = 3) -> dict[bytes, list[Rumour]]:
    """Whom everything is told, until nothing is left."""
    told: dict[bytes, list[Rumour]] = {}
    while of:
        round_of = of.next_round(fanout)
        assert len(round_of) <= fanout
        for peer, rumours in round_of:
            assert 0 < len(rumours) <= RUMOURS_PER_FRAME
            told.setdefault(peer, []).extend(rumours)
    return told


@given(st.integers(1, 8), st.integers(1, 5), st.integers(1, 300))
def test_each_is_told_everything_once_but_by_whom_it_was_told(
    peers: int, fanout: int, count: int
) -> None:
    gossip = queue(peers)
    news = [rumour_of(number) for number in range(count)]
    for each in news:
        gossip.put(each, PEERS[0], budget=8)
    told = drain(gossip, fanout)
    assert told == dict.fromkeys(PEERS[1:peers], news)


def test_no_more_are_told_than_the_budget_says() -> None:
    gossip = queue(8)
    gossip.put(NEWS, None, budget=5)
    assert len(drain(gossip)) == 5


def test_who_says_it_need_not_be_told() -> None:
    gossip = queue(2)
    gossip.put(NEWS, None, budget=8)
    gossip.heard(PEERS[0], NEWS)
    assert drain(gossip) == {PEERS[1]: [NEWS]}


def test_who_says_something_older_is_told() -> None:
    gossip = queue(1)
    gossip.put(rumour_of(1, 3), None, budget=8)
    gossip.heard(PEERS[0], rumour_of(1, 2))
    assert drain(gossip) == {PEERS[0]: [rumour_of(1, 3)]}


def test_later_news_of_a_member_replaces_earlier_news() -> None:
    gossip = queue(1)
    gossip.put(rumour_of(1), None, budget=8)
    gossip.put(rumour_of(1, 1), None, budget=8)
    assert drain(gossip) == {PEERS[0]: [rumour_of(1, 1)]}


def test_what_a_peer_told_takes_the_place_of_what_it_was_to_be_told() -> None:
    gossip = queue(1)
    gossip.put(rumour_of(1), None, budget=8)
    gossip.put(rumour_of(1, 1), PEERS[0], budget=8)
    assert drain(gossip) == {}


def test_a_closed_link_and_a_forgotten_member_leave_nothing_behind() -> None:
    gossip = queue(2)
    gossip.put(NEWS, None, budget=8)
    gossip.close(PEERS[0])
    gossip.forget(NEWS.node_id)
    assert drain(gossip) == {}


def test_what_rides_on_a_probe_fits_a_datagram_and_is_told_again() -> None:
    gossip = queue(1)
    news = [rumour_of(number)._replace(metadata=bytes(300)) for number in range(9)]
    for each in news:
        gossip.put(each, None, budget=8)
    riders = gossip.piggyback(PEERS[0])
    assert 0 < sum(each.size for each in riders) <= PIGGYBACK_SIZE
    assert drain(gossip) == {PEERS[0]: news}
    assert gossip.piggyback(PEERS[0]) == ()
