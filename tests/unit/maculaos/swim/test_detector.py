"""Indirect probes: who is asked, who answers in whose place, and who is blamed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.settings import SwimSettings
from maculaos.swim.membership import Membership
from maculaos.swim.requests import (
    Request,
    SendNack,
    SendPing,
    SendPingRequest,
    SendPong,
    SendRelayedPing,
)
from maculaos.swim.rumour import Health
from unit.maculaos.swim.swarm import rumour_of

if TYPE_CHECKING:
    from maculaos.identity import NodeId

SETTINGS = SwimSettings()
IDS = [rumour_of(number).node_id for number in range(30)]


def linked(*peers: int) -> Membership:
    """Node 0 at time 0, linked to ``peers``."""
    made = Membership(rumour_of(0), SETTINGS, 100, random.Random(1), now=0.0)
    for number in peers:
        made.peer_up(rumour_of(number), 0.0)
    return made


def until_asked(of: Membership) -> tuple[float, list[SendPingRequest]]:
    """Let nobody answer until others are asked; when that is, and who is asked."""
    while True:
        now = of.next_deadline()
        asked = [each for each in of.advance(now) if isinstance(each, SendPingRequest)]
        if asked:
            return now, asked


def run(of: Membership, until: float) -> list[Request]:
    requests: list[Request] = []
    while (now := of.next_deadline()) <= until:
        requests += of.advance(now)
    return requests


def test_others_are_asked_when_the_target_is_silent() -> None:
    one = linked(*range(1, 8))
    _, asked = until_asked(one)
    target = asked[0].target
    assert len({each.to for each in asked}) == SETTINGS.indirect_probes
    assert {(each.target, each.sequence) for each in asked} == {(target, asked[0].sequence)}
    assert target not in {each.to for each in asked}


def test_the_answer_of_a_helper_saves_the_target() -> None:
    one = linked(1, 2, 3)
    now, asked = until_asked(one)
    one.hear_pong(asked[0].to, asked[0].sequence, (), now + 0.1)
    one.advance(now + 2 * SETTINGS.probe_timeout_s)
    held = one.members.get(asked[0].target)
    assert held is not None
    assert held.health is Health.ALIVE
    assert one.awareness == 0


@pytest.mark.parametrize(("nacks", "score"), [(2, 0), (1, 1), (0, 2)])
def test_only_silent_helpers_make_a_node_doubt_itself(nacks: int, score: int) -> None:
    one = linked(1, 2, 3)
    now, asked = until_asked(one)
    for each in asked[:nacks]:
        one.hear_nack(each.to, each.sequence)
        # A denial from whom nobody asked, or said twice, counts for nothing.
        one.hear_nack(each.to, each.sequence)
    target = asked[0].target
    held = one.members.get(target)
    while held is not None and held.health is Health.ALIVE:
        now = one.next_deadline()
        one.advance(now)
        held = one.members.get(target)
    assert one.awareness == score
    assert held is not None
    assert held.accuser == one.me.node_id


def test_who_is_linked_with_the_target_asks_it_and_passes_on_the_answer() -> None:
    helper = linked(1, 2)
    (ping,) = helper.hear_ping_request(IDS[1], 77, IDS[2], 0.0)
    assert isinstance(ping, SendPing)
    assert ping.to == IDS[2]
    assert helper.hear_pong(IDS[1], ping.sequence, (), 0.1) == []
    assert helper.hear_pong(IDS[2], ping.sequence, (), 0.1) == [SendPong(IDS[1], 77, ())]


def test_who_gets_no_answer_says_so_before_the_asker_gives_up() -> None:
    helper = linked(1, 2)
    helper.hear_ping_request(IDS[1], 77, IDS[2], 0.0)
    assert SendNack(IDS[1], 77) in run(helper, SETTINGS.probe_timeout_s)


@pytest.mark.parametrize("target", [0, 1, 9])
def test_who_has_no_link_to_the_target_says_so_at_once(target: int) -> None:
    helper = linked(1, 2)
    assert helper.hear_ping_request(IDS[1], 77, IDS[target], 0.0) == [SendNack(IDS[1], 77)]


def test_a_peer_that_asks_too_often_is_not_answered() -> None:
    helper = linked(1, 2)
    answers = [helper.hear_ping_request(IDS[1], n, IDS[9], 0.0) for n in range(100)]
    assert sum(map(len, answers)) == 16
    assert helper.counts()["requests_refused"] == 84
    assert helper.hear_ping_request(IDS[2], 1, IDS[9], 0.0)


def test_a_node_cut_off_from_all_accuses_one_member_at_a_time() -> None:
    one = linked(*range(1, 21))
    run(one, 60.0)
    assert one.awareness == SETTINGS.awareness_max
    counts = one.members.count_by_health()
    assert counts[Health.SUSPECT] + counts[Health.DEAD] <= 6
    # And in the end it believes what it sees.
    run(one, 3600.0)
    assert one.members.count_by_health()[Health.DEAD] == 20


def test_a_sick_node_asks_less_often_and_recovers() -> None:
    one = linked(1, 2, 3)
    run(one, 60.0)
    asked = [each for each in run(one, 120.0) if isinstance(each, SendPing)]
    assert len({each.sequence for each in asked}) <= 60 / SETTINGS.probe_interval_s / 4
    while one.awareness:
        now = one.next_deadline()
        for each in one.advance(now):
            if isinstance(each, SendPing):
                one.hear_pong(each.to, each.sequence, (), now)
    assert one.awareness == 0


def acquainted(*linked_to: int, known: int) -> Membership:
    """Node 0, linked to some, which told it of another."""
    made = linked(*linked_to)
    made.hear((rumour_of(known),), 0.0, IDS[linked_to[0]])
    return made


def test_who_is_not_linked_with_the_target_asks_it_over_others() -> None:
    helper = acquainted(1, 2, known=9)
    (ping,) = helper.hear_ping_request(IDS[1], 77, IDS[9], 0.0)
    assert isinstance(ping, SendRelayedPing)
    assert ping.to == IDS[9]
    assert helper.hear_relayed_pong(IDS[2], ping.sequence, 0.1) == []
    assert helper.hear_relayed_pong(IDS[9], ping.sequence, 0.1) == [SendPong(IDS[1], 77, ())]


def test_nobody_asks_after_one_that_is_gone() -> None:
    helper = acquainted(1, 2, known=9)
    helper.hear((rumour_of(9)._replace(health=Health.LEFT),), 0.0, IDS[1])
    assert helper.hear_ping_request(IDS[1], 77, IDS[9], 0.0) == [SendNack(IDS[1], 77)]


def test_word_that_came_over_others_answers_no_probe_of_our_own() -> None:
    one = linked(1, 2, 3)
    now, asked = until_asked(one)
    assert one.hear_relayed_pong(asked[0].target, asked[0].sequence, now) == []
    run(one, now + 2 * SETTINGS.probe_timeout_s)
    held = one.members.get(asked[0].target)
    assert held is not None
    assert held.health is Health.SUSPECT


@pytest.mark.parametrize("is_urgent", [True, False])
def test_an_answer_goes_the_way_of_its_question(is_urgent: bool) -> None:
    one = linked(1)
    answers = one.hear_ping(IDS[1], 7, (), 0.0, is_urgent=is_urgent)
    assert [each.is_urgent for each in answers if isinstance(each, SendPong)] == [is_urgent]


def probed(one: Membership, count: int, deaf_to: int = -1) -> list[NodeId]:
    """Whom it asks first so often; each answers at once, but for one."""
    asked: list[NodeId] = []
    while len(asked) < count:
        now = one.next_deadline()
        for each in one.advance(now):
            if isinstance(each, SendPing) and not each.is_urgent:
                asked.append(each.to)
                if each.to != IDS[deaf_to]:
                    one.hear_pong(each.to, each.sequence, (), now)
    return asked


@given(st.integers(1, 9))
def test_each_linked_member_is_asked_once_in_a_round(count: int) -> None:
    one = linked(*range(1, count + 1))
    for _ in range(3):
        assert sorted(probed(one, count)) == sorted(IDS[1 : count + 1])


def test_whoever_was_not_heard_for_longest_is_asked_first() -> None:
    one = linked(1, 2, 3)
    probed(one, 3)
    heard, last = one.next_deadline(), IDS[3]
    for peer in (IDS[1], IDS[2]):
        one.hear_ping(peer, 1, (), heard)
    assert probed(one, 1) == [last]


def test_suspects_and_the_silent_are_not_asked_for_help() -> None:
    one = linked(*range(1, 5))
    one.hear((rumour_of(1)._replace(health=Health.SUSPECT),), 0.0, IDS[4])
    _, asked = until_asked(one)
    assert IDS[1] not in {each.to for each in asked}
