"""Addresses that somebody names: a few are dialled at once, and none where a member is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from maculaos.effects import Dial
from node_parts import cores_of, link_to, rumour, settings_of

if TYPE_CHECKING:
    from maculaos.node.dialler import Dialler

NAMED = tuple(f"10.0.0.{number}:4701" for number in range(1, 31))


def dialled(dialler: Dialler, since: float, until: float) -> dict[str, float]:
    """When each address was dialled first; no dial is answered."""
    first: dict[str, float] = {}
    now = since
    while (now := max(now, dialler.next_deadline())) <= until:
        for effect in dialler.dial_due(now, 0):
            assert isinstance(effect, Dial)
            first.setdefault(effect.address, now)
        now += 0.001
    return first


@pytest.mark.parametrize("source", ["configuration", "remembered"])
def test_list_of_many_is_dialled_a_few_at_once_and_then_one_by_one(source: str) -> None:
    dialler = cores_of().dialler
    if source == "configuration":
        dialler.configure(NAMED, 0.0)
    else:
        dialler.discovered(source, NAMED, 0.0)
    first = dialled(dialler, 0.0, 9.0)
    assert tuple(first) == NAMED
    assert sum(at == 0.0 for at in first.values()) == 3
    assert all(
        at == pytest.approx(0.25 * turn, abs=0.01)
        for turn, at in enumerate(list(first.values())[2:])
    )


def test_what_the_first_link_tells_of_is_not_dialled_any_more() -> None:
    dialler = cores_of().dialler
    dialler.discovered("remembered", NAMED, 0.0)
    assert len(dialled(dialler, 0.0, 0.1)) == 3
    for number, address in enumerate(NAMED[3:-1]):
        dialler.member_present(rumour(f"m{number}", addresses=(address,)), None, 0.1)
    assert set(dialled(dialler, 0.1, 9.0)) & set(NAMED[3:]) == {NAMED[-1]}


def test_address_of_a_living_member_is_not_dialled_at_all() -> None:
    cores = cores_of()
    cores.membership.hear((rumour("m1", addresses=(NAMED[0],)),), 0.0)
    cores.dialler.discovered("mdns", NAMED[:2], 0.0)
    assert set(dialled(cores.dialler, 0.0, 1.0)) == {NAMED[1]}


def test_node_that_lost_its_last_link_looks_for_everybody_a_few_at_once() -> None:
    dialler = cores_of(settings=settings_of(peers=NAMED)).dialler
    for number, address in enumerate(NAMED):
        member = rumour(f"m{number}", addresses=(address,))
        dialler.member_present(member, None, 0.0)
    assert dialled(dialler, 0.0, 1.0) == {}
    dialler.alone(5.0)
    first = dialled(dialler, 5.0, 14.0)
    assert set(first) == set(NAMED)
    assert sum(at == 5.0 for at in first.values()) == 3


def test_address_that_came_back_to_this_node_is_not_dialled_again() -> None:
    dialler = cores_of(settings=settings_of(peers=NAMED[:1])).dialler
    assert set(dialled(dialler, 0.0, 0.1)) == {NAMED[0]}
    dialler.not_a_peer(NAMED[0], 0.1)
    dialler.alone(0.2)
    assert dialled(dialler, 0.2, 60.0) == {}


@pytest.mark.parametrize("is_lost", [True, False])
def test_named_address_rests_while_its_link_is_up(is_lost: bool) -> None:
    dialler = cores_of(settings=settings_of(peers=NAMED[:1])).dialler
    assert set(dialled(dialler, 0.0, 0.1)) == {NAMED[0]}
    link = link_to("m1")
    dialler.linked(link, NAMED[0], 0.1)
    assert dialled(dialler, 0.1, 60.0) == {}
    dialler.link_lost(link, 60.0, is_lost=is_lost)
    assert bool(dialled(dialler, 60.0, 120.0)) == is_lost
