"""Races dial the addresses of a member side by side, and say when the last of them failed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.races import STAGGER_S, Races
from maculaos.identity import NodeId

ONE, OTHER = NodeId(b"1" * 32), NodeId(b"2" * 32)
PATIENCE_S = 10.0


def race(*addresses: str, node_id: NodeId = ONE, at: float = 0.0) -> Races:
    races = Races(PATIENCE_S)
    races.start(node_id, addresses, at)
    return races


def test_addresses_are_dialled_a_moment_apart() -> None:
    races = race("a:1", "b:1", "c:1")
    times = []
    while (now := races.next_deadline()) < PATIENCE_S:
        times.append((now, races.take_due(now, 10)))
    assert times == [(0.0, ["a:1"]), (STAGGER_S, ["b:1"]), (2 * STAGGER_S, ["c:1"])]


def test_failed_address_makes_the_next_start_at_once() -> None:
    races = race("a:1", "b:1")
    races.take_due(0.0, 10)
    assert races.failed("a:1", 0.01) == ()
    assert races.take_due(0.01, 10) == ["b:1"]


def test_member_is_out_of_reach_when_its_last_address_failed() -> None:
    races = race("a:1", "b:1")
    races.take_due(0.0, 10)
    races.take_due(STAGGER_S, 10)
    assert races.failed("b:1", 1.0) == ()
    assert races.failed("a:1", 1.0) == (ONE,)
    assert len(races) == 0
    assert races.next_deadline() == math.inf


def test_dial_of_which_nothing_is_heard_is_given_up() -> None:
    races = race("a:1")
    races.take_due(0.0, 10)
    assert races.take_silent(PATIENCE_S - 0.1) == ()
    assert races.next_deadline() == PATIENCE_S
    assert races.take_silent(PATIENCE_S) == (ONE,)


def test_link_ends_a_race_and_late_failures_mean_nothing() -> None:
    races = race("a:1", "b:1")
    races.take_due(0.0, 10)
    races.end(ONE)
    assert races.failed("a:1", 1.0) == ()
    assert ONE not in races


def test_two_members_at_one_address_are_both_out_of_reach() -> None:
    races = race("a:1")
    races.start(OTHER, ["a:1"], 0.0)
    assert races.take_due(0.0, 10) == ["a:1", "a:1"]
    assert races.is_dialling("a:1")
    assert races.failed("a:1", 0.1) == (ONE, OTHER)


@pytest.mark.parametrize("room", [0, 1])
def test_no_more_is_dialled_than_there_is_room_for(room: int) -> None:
    races = race("a:1")
    races.start(OTHER, ["b:1"], 0.0)
    assert len(races.take_due(0.0, room)) == room
    assert races.count_dialling() == room
    # Who had no room waits a moment rather than keeping the node busy.
    assert races.next_deadline() > 0.0


@given(st.lists(st.sampled_from("abcdef"), min_size=1, unique=True))
def test_every_address_is_dialled_once_and_the_last_failure_tells(
    addresses: list[str],
) -> None:
    races, now = race(*addresses), 0.0
    dialled: list[str] = []
    told: list[NodeId] = []
    while len(races):
        now = max(now, races.next_deadline())
        dialled += races.take_due(now, 10)
        told += races.take_silent(now)
    assert dialled == addresses
    assert told == [ONE]
