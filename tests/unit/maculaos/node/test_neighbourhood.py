"""Whom a node is linked with: wants become dials, missed dials become doubts, spare links end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.effects import Dial
from maculaos.swim.rumour import Health
from node_parts import cores_of, link_to, names, node_id, rumour, settings_of

if TYPE_CHECKING:
    from maculaos.node.cores import Cores

ADDRESS = {name: f"10.0.0.{number}:4701" for number, name in enumerate(names(60), start=1)}
LONG_S = 60.0


def hear_of(cores: Cores, *there: str, now: float = 0.0) -> None:
    """Members are heard of, each at an address of its own."""
    for name in there:
        member = rumour(name, addresses=(ADDRESS[name],))
        cores.membership.hear((member,), now)
        cores.neighbourhood.member_changed(None, member, now)


def dialled(cores: Cores, now: float) -> list[str]:
    """What the node dials by then."""
    cores.neighbourhood.advance(now)
    spare = cores.neighbourhood.take_spare(now)
    assert spare == []
    effects = cores.dialler.dial_due(now, len(cores.links))
    return [each.address for each in effects if isinstance(each, Dial)]


def dialled_until(cores: Cores, end: float) -> dict[str, float]:
    """When each address was dialled first, until ``end``, while nobody answers."""
    first: dict[str, float] = {}
    now = 0.0
    while now <= end:
        for address in dialled(cores, now):
            first.setdefault(address, now)
        now = max(cores.neighbourhood.next_deadline(), now + 0.01)
    return first


@given(st.integers(1, 40))
def test_exactly_the_wanted_members_are_dialled(count: int) -> None:
    cores = cores_of()
    hear_of(cores, *names(count))
    addresses = set(dialled_until(cores, end=1.0))
    wanted = cores.neighbourhood.topology.wanted
    assert addresses == {ADDRESS[name] for name in names(count) if node_id(name) in wanted}
    assert len(wanted) == min(count, 6)


def test_member_that_answers_at_no_address_is_missed_and_another_stands_in() -> None:
    cores = cores_of()
    hear_of(cores, *names(30))
    addresses = dialled_until(cores, end=1.0)
    wanted = cores.neighbourhood.topology.wanted
    missed: list[object] = []
    for address in addresses:
        missed += cores.neighbourhood.dial_failed(address, 1.0)
    assert sorted(missed, key=str) == sorted(wanted, key=str)
    cores.neighbourhood.advance(2.0)
    assert set(cores.neighbourhood.topology.wanted) > set(wanted)


def test_dial_of_which_nothing_is_heard_is_a_miss() -> None:
    cores = cores_of()
    hear_of(cores, "m1")
    assert dialled_until(cores, end=1.0)
    assert cores.neighbourhood.advance(LONG_S) == (node_id("m1"),)


def test_member_without_any_address_is_not_dialled_for_ever() -> None:
    cores = cores_of()
    nowhere = rumour("m1", addresses=())
    cores.membership.hear((nowhere,), 0.0)
    cores.neighbourhood.member_changed(None, nowhere, 0.0)
    assert dialled_until(cores, end=LONG_S) == {}


def test_link_that_nobody_wants_is_closed_after_the_grace_and_its_member_is_not_missed() -> None:
    cores = cores_of(linked=names(20), known=names(20))
    grace_s = settings_of().topology.grace_s
    cores.neighbourhood.advance(1.0)
    assert cores.neighbourhood.take_spare(1.0) == []
    cores.neighbourhood.advance(grace_s + 1.0)
    spare = cores.neighbourhood.take_spare(grace_s + 1.0)
    wanted = set(cores.neighbourhood.topology.wanted)
    assert {link.peer.node_id for link in spare} == {
        link.peer.node_id for link in cores.links if link.peer.node_id not in wanted
    }
    for link in spare:
        cores.links.remove(link)
        cores.neighbourhood.unlinked(link, grace_s + 1.0, is_lost=False)
    assert dialled(cores, grace_s + 2.0) == []


@pytest.mark.parametrize("is_lost", [True, False])
def test_configured_address_is_dialled_again_after_a_loss_and_rests_after_a_parting(
    is_lost: bool,
) -> None:
    cores = cores_of(linked=("m0",), settings=settings_of(peers=tuple(ADDRESS.values())))
    hear_of(cores, *names(30)[1:])
    cores.neighbourhood.advance(0.5)
    wanted = cores.neighbourhood.topology.wanted
    other = next(name for name in names(30)[1:] if node_id(name) not in wanted)
    link = link_to(other, 9)
    cores.links.add(link)
    cores.neighbourhood.linked(link, ADDRESS[other], 0.5)
    cores.links.remove(link)
    cores.neighbourhood.unlinked(link, 1.0, is_lost=is_lost)
    # Soon, before others are given up and it stands in for one of them.
    assert (ADDRESS[other] in dialled_until(cores, end=5.0)) == is_lost


def test_last_link_lost_brings_the_configured_addresses_back() -> None:
    cores = cores_of(settings=settings_of(peers=(ADDRESS["m1"],)))
    assert dialled(cores, 0.0) == [ADDRESS["m1"]]
    hear_of(cores, "m1")
    link = link_to("m1")
    cores.links.add(link)
    cores.neighbourhood.linked(link, ADDRESS["m1"], 0.0)
    assert ADDRESS["m1"] not in dialled_until(cores, end=5.0)
    cores.links.remove(link)
    cores.neighbourhood.unlinked(link, 6.0, is_lost=True)
    dead = rumour("m1", Health.DEAD, addresses=(ADDRESS["m1"],))
    cores.membership.hear((dead,), 6.0)
    cores.neighbourhood.member_changed(rumour("m1"), dead, 6.0)
    again = [now / 10 for now in range(60, 600) if dialled(cores, now / 10)]
    assert again


def test_lost_member_is_tried_until_its_tombstone_is_gone() -> None:
    cores = cores_of(linked=("m0",))
    member = rumour("m1", addresses=(ADDRESS["m1"],))
    dead = rumour("m1", Health.DEAD, addresses=(ADDRESS["m1"],))
    cores.membership.hear((member,), 0.0)
    cores.membership.hear((dead,), 0.0)
    cores.neighbourhood.member_changed(None, member, 0.0)
    cores.neighbourhood.member_changed(member, dead, 0.0)
    assert cores.neighbourhood.topology.lost == 1
    assert ADDRESS["m1"] in dialled_until(cores, end=LONG_S)
    cores.neighbourhood.forgotten(dead)
    assert cores.neighbourhood.topology.lost == 0


def test_suspicion_changes_ways_at_once_and_wants_nothing() -> None:
    cores = cores_of(linked=("m0", "m1"), known=("far",))
    cores.neighbourhood.advance(0.5)
    wanted = cores.neighbourhood.topology.wanted
    routing = cores.neighbourhood.routing
    way = routing.next_hop(node_id("far"))
    assert way is not None
    suspect = rumour(way.peer.name, Health.SUSPECT)
    cores.membership.hear((suspect,), 1.0)
    cores.neighbourhood.member_changed(rumour(way.peer.name), suspect, 1.0)
    cores.neighbourhood.advance(2.0)
    other = routing.next_hop(node_id("far"))
    assert other is not None
    assert other is not way
    assert cores.neighbourhood.topology.wanted == wanted


def test_lonely_node_that_is_turned_away_asks_again_ever_more_seldom() -> None:
    """A full node takes the link, and ends it at once: it lives, and has no room."""
    seed = ADDRESS["m1"]
    cores = cores_of(settings=settings_of(peers=(seed,)))
    dials: list[float] = []
    for now in (turn / 10 for turn in range(1200)):
        if seed in dialled(cores, now):
            dials.append(now)
            link = link_to("m1", len(dials))
            link.since = now
            cores.links.add(link)
            cores.neighbourhood.linked(link, seed, now)
            cores.links.remove(link)
            cores.neighbourhood.unlinked(link, now, is_lost=False)
    assert 4 <= len(dials) <= 24


def test_wanted_member_that_has_no_room_is_tried_ever_more_seldom_and_another_stands_in() -> None:
    cores = cores_of()
    hear_of(cores, *names(30))
    dialled_until(cores, end=1.0)
    full, *_ = cores.neighbourhood.topology.wanted
    name = next(each for each in names(30) if node_id(each) == full)
    link = link_to(name)
    link.since = 1.0
    cores.links.add(link)
    cores.neighbourhood.linked(link, None, 1.0)
    cores.links.remove(link)
    cores.neighbourhood.unlinked(link, 1.1, is_lost=False)
    assert ADDRESS[name] not in dialled(cores, 1.2)
    assert len(cores.neighbourhood.topology.wanted) == 7
