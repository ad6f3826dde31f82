"""What one node decides: whom to dial, who stands in, what may be closed, and when."""

from __future__ import annotations

import hashlib
import itertools
import math
import random

from maculaos.identity import NodeId
from maculaos.topology.neighbours import Neighbours, Request, Spare, Want
from maculaos.topology.rings import Rings
from maculaos.topology.settings import TopologySettings

SETTINGS = TopologySettings()
ME, *OTHERS = (NodeId(hashlib.sha256(bytes((each,))).digest()) for each in range(60))


def decider(count: int = 40, seed: int = 1) -> Neighbours:
    """A node that knows ``count`` others, and has no link yet, at time 1."""
    one = Neighbours(ME, "home", SETTINGS, 100, random.Random(seed))
    for other in OTHERS[:count]:
        one.member_up(other, 0.0)
    return one


def dialled(requests: list[Request]) -> list[NodeId]:
    return [each.node_id for each in requests if isinstance(each, Want)]


def spared(requests: list[Request]) -> list[NodeId]:
    return [each.node_id for each in requests if isinstance(each, Spare)]


def run(one: Neighbours, until: float) -> list[tuple[float, Request]]:
    """Everything that falls due, at its time; dials are never answered here."""
    said: list[tuple[float, Request]] = []
    while (now := one.next_deadline()) <= until:
        turns = len(said)
        said += [(now, each) for each in one.advance(now)]
        assert len(said) > turns or one.next_deadline() > now, "a deadline without effect"
    return said


def linked(count: int = 40) -> Neighbours:
    """A node with all the links that it wants, at time 1."""
    one = decider(count)
    run(one, 1.0)
    for other in one.wanted:
        one.link_up(other, 1.0, is_outbound=True)
    run(one, 2.0)
    return one


def test_news_of_members_is_gathered_and_then_followed_at_once() -> None:
    one = decider()
    assert one.wanted == ()
    assert one.next_deadline() == SETTINGS.settle_s
    assert one.advance(SETTINGS.settle_s / 2) == []
    named = Rings("home", 6, [ME, *OTHERS[:40]]).neighbours(ME)
    assert dialled(one.advance(SETTINGS.settle_s)) == list(one.wanted) == list(named)


def test_dials_under_way_are_never_more_than_the_degree() -> None:
    one = decider()
    assert len(dialled([each for _, each in run(one, 1.0)])) == SETTINGS.degree
    assert run(one, 10.0) == []
    assert len(one.unreachable(one.wanted[0], 10.0)) == 1


def test_unreachable_neighbour_is_passed_over_and_tried_again() -> None:
    one = linked()
    gone = one.wanted[0]
    side = one.rings.sides(ME)[gone]
    assert dialled(one.link_down(gone, 3.0)) == [gone]
    requests = [*one.unreachable(gone, 3.2), *(each for _, each in run(one, 3.3))]
    named = one.rings.neighbours(ME)
    stand_in = next(
        each for each in one.rings.beyond(gone, side) if each != ME and each not in named
    )
    assert dialled(requests)[0] == stand_in
    one.link_up(stand_in, 3.4, is_outbound=True)
    again = run(one, 3.4 + SETTINGS.retry_base_s)
    assert dialled([each for _, each in again]) == [gone]
    assert again[0][0] >= 3.2 + SETTINGS.retry_base_s / 2
    one.link_up(gone, 5.0, is_outbound=True)
    closed = run(one, 60.0)
    assert [(each, at) for at, each in closed] == [(Spare(stand_in), 5.0 + SETTINGS.grace_s)]


def test_waits_between_tries_grow_to_the_longest_and_never_end() -> None:
    one = linked()
    gone = one.wanted[0]
    one.link_down(gone, 3.0)
    one.unreachable(gone, 3.0)
    tries, now = [3.0], 3.0
    while len(tries) < 20:
        now = one.next_deadline()
        if gone in dialled(one.advance(now)):
            tries.append(now)
            one.unreachable(gone, now)
    waits = [after - before for before, after in itertools.pairwise(tries)]
    assert waits[0] <= SETTINGS.retry_base_s + SETTINGS.settle_s
    assert all(15.0 <= wait <= SETTINGS.retry_max_s + SETTINGS.settle_s for wait in waits[8:])


def test_dial_that_is_never_answered_counts_as_failed() -> None:
    one = linked()
    gone = one.wanted[0]
    one.link_down(gone, 3.0)
    later = run(one, 3.0 + SETTINGS.dial_patience_s + SETTINGS.settle_s)
    assert dialled([each for _, each in later]), "nobody stands in"
    assert gone not in dialled([each for _, each in later])


def test_link_is_spared_only_after_the_grace_and_by_who_opened_it() -> None:
    one = linked()
    strangers = [each for each in OTHERS[:40] if each not in one.wanted][:2]
    one.link_up(strangers[0], 3.0, is_outbound=True)
    one.link_up(strangers[1], 3.0, is_outbound=False)
    said = run(one, 200.0)
    assert [each for _, each in said] == [Spare(strangers[0])]
    assert said[0][0] == 3.0 + SETTINGS.grace_s


def test_surplus_of_links_that_others_opened_is_closed_the_oldest_first() -> None:
    one = linked()
    strangers = [each for each in OTHERS[:40] if each not in one.wanted][: SETTINGS.degree + 2]
    for turn, each in enumerate(strangers):
        one.link_up(each, 3.0 + turn, is_outbound=False)
    assert spared([each for _, each in run(one, 200.0)]) == strangers[:2]


def test_pinned_link_stays_until_it_is_unpinned() -> None:
    one = linked()
    stranger = next(each for each in OTHERS[:40] if each not in one.wanted)
    one.pin(stranger)
    one.link_up(stranger, 3.0, is_outbound=True)
    assert run(one, 100.0) == []
    one.unpin(stranger, 100.0)
    assert run(one, 200.0) == [(100.0 + SETTINGS.grace_s, Spare(stranger))]


def test_nothing_is_closed_before_half_the_links_are_up() -> None:
    one = decider()
    run(one, 1.0)
    stranger = next(each for each in OTHERS[:40] if each not in one.wanted)
    one.link_up(stranger, 1.0, is_outbound=True)
    at = 1.0 + SETTINGS.grace_s
    said: list[Request] = []
    for turn, each in enumerate(one.wanted[: SETTINGS.degree // 2]):
        assert said == []
        assert spared([each for _, each in run(one, at + turn)]) == []
        said = one.link_up(each, at + turn, is_outbound=True)
    assert spared([*said, *(each for _, each in run(one, at + 3.0))]) == [stranger]


def test_a_link_wanted_again_within_the_grace_stays() -> None:
    one = linked(40)
    wanted = set(one.wanted)
    newcomers = []
    for turn, each in enumerate(OTHERS[40:]):
        one.member_up(each, 3.0 + turn / 4)
        newcomers.append(each)
        run(one, 3.2 + turn / 4)
        if not wanted <= set(one.wanted):
            break
    dropped = wanted - set(one.wanted)
    assert dropped
    for each in newcomers:
        one.member_down(each, 8.5, has_left=True)
    run(one, 9.0)
    assert set(one.wanted) == wanted
    assert not dropped & set(spared([each for _, each in run(one, 100.0)]))


def test_lost_members_are_tried_for_ever_and_those_that_left_are_not() -> None:
    one = linked()
    others = [each for each in OTHERS[:40] if each not in one.wanted]
    one.member_down(others[0], 3.0)
    one.member_down(others[1], 3.0, has_left=True)
    assert one.lost == 1
    tries = 0
    while (now := one.next_deadline()) < 3600.0:
        for each in dialled(one.advance(now)):
            assert each == others[0]
            tries += 1
            one.unreachable(each, now + 1.0)
    assert 300 <= tries <= 420
    one.member_up(others[0], 3600.0)
    assert one.lost == 0


def test_lost_are_bounded_and_can_be_given_up() -> None:
    one = Neighbours(ME, "home", SETTINGS, 5, random.Random(1))
    for each in OTHERS:
        one.member_down(each, 0.0)
    assert one.lost == 5
    for each in OTHERS:
        one.give_up(each)
    assert one.lost == 0
    run(one, 1.0)
    assert math.isinf(one.next_deadline())


def test_node_itself_is_never_its_neighbour() -> None:
    one = Neighbours(ME, "home", SETTINGS, 5, random.Random(1))
    one.member_up(ME, 0.0)
    one.member_down(ME, 0.0)
    assert run(one, 9.0) == []
    assert one.wanted == ()
    assert ME in one.rings


def test_member_that_drops_every_link_at_once_is_dialled_ever_more_seldom() -> None:
    other = NodeId(bytes([7]) * 32)
    rng = random.Random(1)  # a seed replays the run
    neighbours = Neighbours(NodeId(bytes(32)), "home", TopologySettings(), 10, rng)
    neighbours.member_up(other, 0.0)
    dials: list[float] = []
    while (now := neighbours.next_deadline()) < 120.0:
        if Want(other) in neighbours.advance(now):
            dials.append(now)
            neighbours.link_up(other, now, is_outbound=True)
            neighbours.link_down(other, now, is_lost=True)
    assert 4 <= len(dials) <= 12
    assert dials[-1] - dials[-2] > 10.0


def test_full_node_makes_room_early_with_the_link_it_has_not_wanted_longest() -> None:
    rng = random.Random(1)  # a seed replays the run
    one = Neighbours(ME, "home", SETTINGS, 100, rng, links_max=4)
    said: list[Request] = []
    for turn, each in enumerate(OTHERS[:4]):
        assert said == []
        said = one.link_up(each, float(turn), is_outbound=False)
    # No wanted link is up, and none could be: there was no room.
    assert said == [Spare(OTHERS[0])]
    assert run(one, 3.0 + SETTINGS.grace_s / 2) == []
    one.link_down(OTHERS[0], 8.0)
    assert run(one, 300.0) == [], "with room for one more, the others may stay"


def test_newcomer_to_a_full_node_has_the_time_to_exchange_views() -> None:
    rng = random.Random(1)  # a seed replays the run
    one = Neighbours(ME, "home", SETTINGS, 100, rng, links_max=2)
    said = [*one.link_up(OTHERS[0], 1.0, is_outbound=False)]
    said += one.link_up(OTHERS[1], 1.0, is_outbound=False)
    assert said == []
    ((at, request),) = run(one, 5.0)
    assert (at, request) == (2.0, Spare(OTHERS[0]))


def test_full_node_keeps_links_that_it_wants() -> None:
    rng = random.Random(1)  # a seed replays the run
    one = Neighbours(ME, "home", SETTINGS, 100, rng, links_max=2)
    for other in OTHERS[:2]:
        one.member_up(other, 0.0)
    run(one, 1.0)
    for other in OTHERS[:2]:
        one.link_up(other, 1.0, is_outbound=True)
    assert run(one, 300.0) == []
