"""SWIM as one node lives it: probing, suspicion, refutation, gossip, leaving."""

from __future__ import annotations

import math
import random

import pytest

from maculaos.errors import UsageError
from maculaos.identity import NodeId
from maculaos.settings import SwimSettings
from maculaos.swim.membership import Membership
from maculaos.swim.requests import (
    MemberChanged,
    MemberForgotten,
    Request,
    SendDigest,
    SendPing,
    SendPong,
    SendState,
)
from maculaos.swim.rumour import MAX_INCARNATION, Health, Rumour

SETTINGS = SwimSettings()


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 32)


def rumour(number: int, incarnation: int = 0, health: Health = Health.ALIVE) -> Rumour:
    return Rumour(incarnation, health, (f"10.0.0.{number}:1",), f"n{number}", node_id(number))


def membership(*peers: int, settings: SwimSettings = SETTINGS, limit: int = 100) -> Membership:
    """Node 1 at time 0, linked to ``peers``."""
    rng = random.Random(7)  # a seed replays the run
    made = Membership(rumour(1), settings, limit, rng, now=0.0)
    for number in peers:
        made.peer_up(rumour(number), 0.0)
    return made


def health(of: Membership, number: int) -> Health | None:
    member = of.members.get(node_id(number))
    return member.health if member else None


def run(of: Membership, until: float, answers: tuple[int, ...] = ()) -> list[Request]:
    """Advance by deadlines; the named peers answer every probe at once."""
    requests: list[Request] = []
    while (now := of.next_deadline()) <= until:
        due = of.advance(now)
        requests += due
        for each in due:
            if isinstance(each, SendPing) and each.to in map(node_id, answers):
                requests += of.hear_pong(each.to, each.sequence, (), now)
    return requests


def test_who_answers_stays_alive() -> None:
    one = membership(2, 3)
    run(one, 60.0, answers=(2, 3))
    assert [health(one, 2), health(one, 3)] == [Health.ALIVE] * 2


def test_who_does_not_answer_is_suspected_then_dead_within_the_bound() -> None:
    one = membership(2, 3)
    # Two rounds over two peers at worst, since a round may begin with the other one.
    failed_s = 4 * SETTINGS.probe_interval_s + 2 * SETTINGS.probe_timeout_s
    run(one, failed_s, answers=(3,))
    assert health(one, 2) is not Health.ALIVE
    # Node 3 got no PING_REQUEST answered: nobody seconds, and this node doubts itself.
    run(one, failed_s + SETTINGS.longest_suspicion_s(3), answers=(3,))
    assert [health(one, 2), health(one, 3)] == [Health.DEAD, Health.ALIVE]


def test_a_second_accuser_shortens_the_suspicion() -> None:
    one = membership(2, 3, 4)
    suspicion = rumour(9, 0, Health.SUSPECT)
    one.hear([rumour(9)], 0.0)
    one.hear([suspicion._replace(accuser=node_id(2))], 0.0, node_id(2))
    one.hear([suspicion._replace(accuser=node_id(3))], 1.0, node_id(3))
    run(one, SETTINGS.suspicion_timeout_s(5) - 0.1, answers=(2, 3, 4))
    assert health(one, 9) is Health.SUSPECT
    run(one, SETTINGS.suspicion_timeout_s(5) + 0.1, answers=(2, 3, 4))
    assert health(one, 9) is Health.DEAD


def test_suspicion_is_not_death_before_its_timeout() -> None:
    one = membership(2)
    one.hear([rumour(2, 0, Health.SUSPECT)], 0.0)
    run(one, SETTINGS.suspicion_timeout_s(2) - 0.01)
    assert health(one, 2) is Health.SUSPECT


def test_an_answer_alone_does_not_clear_suspicion_but_a_higher_incarnation_does() -> None:
    one = membership(2)
    pings = one.hear([rumour(2, 0, Health.SUSPECT)], 0.0)
    ping = next(each for each in pings if isinstance(each, SendPing))
    one.hear_pong(node_id(2), ping.sequence, (), 0.1)
    assert health(one, 2) is Health.SUSPECT
    one.hear_pong(node_id(2), 99, (rumour(2, 1),), 0.2)
    assert health(one, 2) is Health.ALIVE
    run(one, 30.0, answers=(2,))
    assert health(one, 2) is Health.ALIVE


def test_suspect_refutes_with_higher_incarnation() -> None:
    one = membership(2)
    for bad in (Health.SUSPECT, Health.DEAD, Health.LEFT):
        heard = rumour(1, one.me.incarnation + 3, bad)
        one.hear([heard], 0.0)
        assert one.me.incarnation == heard.incarnation + 1
        assert one.me.health is Health.ALIVE
    pong = one.hear_ping(node_id(2), 1, (), 0.0)[-1]
    assert isinstance(pong, SendPong)
    assert one.me in pong.rumours


def test_a_node_outbids_an_earlier_life_at_another_address() -> None:
    one = membership(2)
    one.hear([Rumour(0, Health.ALIVE, ("old:1",), "n1", node_id(1))], 0.0)
    assert one.me.incarnation == 1


def test_true_and_old_rumours_about_itself_change_nothing() -> None:
    one = membership(2)
    one.hear([rumour(1, 5, Health.DEAD)], 0.0)
    one.hear([rumour(1, 6), rumour(1, 5, Health.DEAD), rumour(1)], 0.0)
    assert one.me.incarnation == 6


def test_absurd_rumours_about_itself_are_dropped() -> None:
    one = membership(2)
    one.hear([rumour(1, MAX_INCARNATION, Health.DEAD)], 0.0)
    assert one.me == rumour(1)


def test_a_suspect_is_told_so_at_once() -> None:
    one = membership(2)
    requests = one.hear([rumour(2, 0, Health.SUSPECT)], 0.0)
    told = [each for each in requests if isinstance(each, SendPing)]
    assert [each.to for each in told] == [node_id(2)]
    assert rumour(2, 0, Health.SUSPECT) in told[0].rumours


def test_news_is_gossiped_to_others_and_then_no_more() -> None:
    one = membership(2, 3, 4)
    one.hear([rumour(9)], 0.0)
    states = [each for each in run(one, 5.0, (2, 3, 4)) if isinstance(each, SendState)]
    riders = [each for each in states if not each.wants_reply and rumour(9) in each.rumours]
    assert 0 < len(riders) <= SETTINGS.retransmits(5)
    assert one.next_deadline() > 5.0


def test_push_pull_tells_the_digest_of_the_view() -> None:
    one = membership(2, 3)
    proposed = [
        each
        for each in run(one, SETTINGS.push_pull_interval_s, (2, 3))
        if isinstance(each, SendDigest)
    ]
    assert [(each.members, each.total) for each in proposed] == [(3, one.members.digest.total)]


def test_who_asks_for_everything_gets_it() -> None:
    one = membership(2, 3)
    (reply,) = one.hear_state(node_id(2), (), True, b"", 20.0)
    assert isinstance(reply, SendState)
    assert reply.rumours == (one.me, *one.members)


def test_a_new_link_begins_with_a_comparison_by_the_smaller_id() -> None:
    one = membership(2)
    requests = one.peer_up(rumour(3), 1.0)
    assert requests == [
        MemberChanged(None, rumour(3)),
        SendDigest(node_id(3), 3, one.members.digest.total),
    ]
    assert one.peer_up(rumour(0), 1.0) == [MemberChanged(None, rumour(0))]


def test_who_comes_back_is_told_at_once_what_is_held_of_it() -> None:
    one = membership(2, 3)
    one.hear([rumour(2, 4, Health.DEAD)], 0.0)
    assert SendState(node_id(2), (rumour(2, 4, Health.DEAD),)) in one.peer_up(rumour(2), 1.0)


def test_a_lost_link_is_an_unanswered_probe_unless_it_is_back_in_time() -> None:
    one = membership(2, 3)
    one.peer_down(node_id(2), 0.0)
    one.peer_down(node_id(3), 0.0)
    one.peer_up(rumour(3), 0.1)
    run(one, 2 * SETTINGS.probe_timeout_s, answers=(3,))
    assert [health(one, 2), health(one, 3)] == [Health.SUSPECT, Health.ALIVE]


def test_a_link_closed_on_purpose_raises_no_doubt() -> None:
    one = membership(2, 3)
    one.peer_down(node_id(2), 0.0, is_lost=False)
    run(one, 60.0, answers=(3,))
    assert health(one, 2) is Health.ALIVE


def test_who_refutes_through_others_is_not_accused_again_while_unlinked() -> None:
    one = membership(2, 3)
    one.peer_down(node_id(2), 0.0)
    run(one, 1.5, answers=(3,))
    assert health(one, 2) is Health.SUSPECT
    one.hear([rumour(2, 1)], 1.5)
    one.unreachable(node_id(2), 1.6)
    run(one, 3.0, answers=(3,))
    assert health(one, 2) is Health.ALIVE
    one.peer_up(rumour(2), 3.0)
    one.peer_down(node_id(2), 3.0)
    run(one, 5.0, answers=(3,))
    assert health(one, 2) is Health.SUSPECT


def test_a_member_nobody_reaches_is_accused() -> None:
    one = membership(2)
    one.hear([rumour(9)], 0.0)
    one.unreachable(node_id(9), 0.0)
    assert health(one, 9) is Health.ALIVE
    run(one, 1.5, answers=(2,))
    assert health(one, 9) is Health.SUSPECT


def test_own_pause_is_not_blamed_on_others() -> None:
    one = membership(2, 3)
    one.hear([rumour(2, 0, Health.SUSPECT)], 0.0)
    one.advance(one.next_deadline() + 100.0)
    assert [health(one, 2), health(one, 3)] == [Health.SUSPECT, Health.ALIVE]


def test_the_dead_are_forgotten_after_the_tombstone() -> None:
    one = membership(2, settings=SwimSettings(tombstone_s=60.0))
    one.hear([rumour(2, 0, Health.DEAD)], 0.0)
    forgotten = [each for each in run(one, 61.0) if isinstance(each, MemberForgotten)]
    assert forgotten == [MemberForgotten(rumour(2, 0, Health.DEAD))]
    one.hear([rumour(2, 0, Health.DEAD)], 62.0)
    assert health(one, 2) is None


def test_leaving_tells_every_peer_and_ends_all_work() -> None:
    one = membership(2, 3)
    requests = one.leave()
    told = [each.to for each in requests if isinstance(each, SendState)]
    assert told == [node_id(2), node_id(3)]
    assert one.next_deadline() == math.inf
    assert one.advance(1000.0) == []
    one.hear([rumour(1, 9, Health.DEAD)], 1.0)
    assert one.me == rumour(1, 0, Health.LEFT)
    assert one.hear_ping(node_id(2), 1, (), 1.0) == []


def test_metadata_is_told_with_a_higher_incarnation_and_bounded() -> None:
    one = membership(2)
    (change,) = one.set_metadata(b"role=gateway", 1.0)
    assert isinstance(change, MemberChanged)
    assert (one.me.incarnation, one.me.metadata) == (1, b"role=gateway")
    assert one.set_metadata(b"role=gateway", 2.0) == []
    told = [each for each in run(one, 2.0, (2,)) if isinstance(each, SendState)]
    assert any(one.me in each.rumours for each in told)
    with pytest.raises(UsageError, match="513 bytes"):
        one.set_metadata(bytes(513), 3.0)


def test_new_address_is_told_with_a_higher_incarnation() -> None:
    one = membership(2)
    (change,) = one.set_addresses(("10.0.0.9:1",), 1.0)
    assert isinstance(change, MemberChanged)
    assert (one.me.incarnation, one.me.addresses) == (1, ("10.0.0.9:1",))
    assert one.set_addresses(("10.0.0.9:1",), 2.0) == []
    told = [each for each in run(one, 2.0, (2,)) if isinstance(each, SendState)]
    assert any(one.me in each.rumours for each in told)


def test_an_accuser_of_everybody_is_not_believed() -> None:
    one = membership(2, settings=SwimSettings(suspicions_per_accuser=3))
    one.hear([rumour(number) for number in range(10, 20)], 0.0)
    for number in range(10, 20):
        suspicion = rumour(number, 0, Health.SUSPECT)._replace(accuser=node_id(2))
        one.hear([suspicion], 0.0, node_id(2))
    assert one.members.count_by_health()[Health.SUSPECT] == 3
    assert one.counts()["suspicions_refused"] == 7
    # Who is accused by somebody else as well is suspected.
    one.hear([rumour(19, 0, Health.SUSPECT)._replace(accuser=node_id(18))], 0.0, node_id(2))
    assert health(one, 19) is Health.SUSPECT
