"""Comparing views: silence when they agree, the difference when they do not, whatever is held."""

from __future__ import annotations

import random
from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from maculaos.settings import SwimSettings
from maculaos.swim.membership import Membership
from maculaos.swim.requests import Request, SendDigest, SendState
from maculaos.swim.rumour import Health, Rumour
from unit.maculaos.swim.swarm import rumour_of

ME, PEER = rumour_of(1001), rumour_of(1002)
if ME.node_id > PEER.node_id:
    ME, PEER = PEER, ME


def pair(ours: list[Rumour], theirs: list[Rumour]) -> tuple[Membership, Membership]:
    """Two nodes that know each other, and what they heard besides."""
    made = []
    for me, other, heard in ((ME, PEER, ours), (PEER, ME, theirs)):
        node = Membership(me, SwimSettings(), 10_000, random.Random(1), now=0.0)
        node.hear([other, *(each._replace(health=Health.ALIVE) for each in heard)], 0.0)
        node.hear(heard, 0.0)
        made.append(node)
    return made[0], made[1]


def compare(one: Membership, other: Membership) -> list[Request]:
    """Link the two and carry all that is said to and fro until nothing more is."""
    nodes = {PEER.node_id: (other, ME.node_id), ME.node_id: (one, PEER.node_id)}
    said: list[Request] = []
    waiting = deque([*one.peer_up(PEER, 0.0), *other.peer_up(ME, 0.0)])
    while waiting:
        request = waiting.popleft()
        if isinstance(request, SendDigest | SendState):
            said.append(request)
            node, sender = nodes[request.to]
            waiting += hear(node, sender, request)
    return said


def hear(node: Membership, sender: bytes, request: SendDigest | SendState) -> list[Request]:
    who = PEER.node_id if sender == PEER.node_id else ME.node_id
    if isinstance(request, SendDigest):
        return node.hear_digest(who, request.members, request.total, request.buckets, 0.0)
    return node.hear_state(who, request.rumours, request.wants_reply, request.buckets, 0.0)


def present(node: Membership) -> set[tuple[object, ...]]:
    """Who takes part, as that node sees it; suspects as if they were alive."""
    known = (node.me, *node.members)
    return {(each.incarnation, *each.said[2:]) for each in known if not each.health.is_gone}


sayings = st.builds(
    lambda number, incarnation, is_dead: rumour_of(number, incarnation)._replace(
        health=Health.DEAD if is_dead else Health.ALIVE
    ),
    st.integers(0, 120),
    st.integers(0, 2),
    st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(sayings, max_size=80), st.lists(sayings, max_size=80))
def test_after_a_comparison_both_know_the_same_members_alive(
    ours: list[Rumour], theirs: list[Rumour]
) -> None:
    one, other = pair(ours, theirs)
    compare(one, other)
    mine = {each[3]: each for each in present(one)}
    its = {each[3]: each for each in present(other)}
    for name in mine.keys() | its.keys():
        if name in mine and name in its:
            assert mine[name] == its[name]
        else:
            # One holds it dead: the other suspects it now, and will know soon.
            holder = one if name in mine else other
            (held,) = [each for each in holder.members if each.node_id == name]
            assert held.health is Health.SUSPECT


def test_equal_views_cost_one_message() -> None:
    known = [rumour_of(number) for number in range(500)]
    one, other = pair(known, known[::-1])
    said = compare(one, other)
    assert [type(each) for each in said] == [SendDigest]


def test_a_small_difference_of_large_views_costs_little() -> None:
    known = [rumour_of(number) for number in range(2000)]
    one, other = pair(known, [*known[5:], rumour_of(5000)])
    said = compare(one, other)
    assert sum(len(each.rumours) for each in said if isinstance(each, SendState)) < 150
    assert present(one) == present(other)


def test_a_newcomer_gets_the_view_in_bounded_frames() -> None:
    known = [rumour_of(number) for number in range(2000)]
    one, other = pair(known, [])
    said = compare(one, other)
    states = [each for each in said if isinstance(each, SendState)]
    assert max(len(each.rumours) for each in states) <= 500
    assert present(one) == present(other)


def test_a_death_in_a_comparison_is_a_suspicion_and_in_gossip_a_death() -> None:
    dead = rumour_of(3)._replace(health=Health.DEAD)
    one, other = pair([rumour_of(3)], [rumour_of(3)])
    one.hear_state(PEER.node_id, (dead,), False, bytes([dead.node_id[0]]), 0.0)
    other.hear_state(ME.node_id, (dead,), False, b"", 0.0)
    healths = [node.members.get(dead.node_id) for node in (one, other)]
    assert [each.health for each in healths if each] == [Health.SUSPECT, Health.DEAD]


def test_a_peer_that_asks_for_states_without_end_is_not_answered() -> None:
    one, _ = pair([], [])
    answers = [one.hear_state(PEER.node_id, (), True, b"", 0.0) for _ in range(200)]
    assert sum(map(len, answers)) == 64
    assert one.hear_state(PEER.node_id, (), True, b"", 10.0)
