"""The members table: merging, tombstones and bounds."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.members import Members
from maculaos.swim.rumour import Health, Rumour

IDS = [NodeId(bytes([number]) * 32) for number in range(3)]


def rumour(number: int, incarnation: int = 0, health: Health = Health.ALIVE) -> Rumour:
    return Rumour(incarnation, health, ("a:1",), f"n{number}", IDS[number])


def table(limit: int = 10) -> Members:
    return Members(limit, tombstone_s=60.0)


def tell(members: Members, *heard: Rumour) -> Members:
    for each in heard:
        if members.is_news(each):
            members.put(each, now=0.0)
    return members


sayings = st.lists(
    st.builds(rumour, st.integers(0, 2), st.integers(0, 2), st.sampled_from(Health)), max_size=8
)


@given(sayings, st.randoms(use_true_random=False))
def test_same_rumours_in_any_order_give_the_same_view(
    heard: list[Rumour], rng: st.DataObject
) -> None:
    known = [rumour(number) for number in range(3)]
    shuffled = [*heard, *heard]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis hands out a random.Random
    assert sorted(tell(table(), *known, *heard)) == sorted(tell(table(), *known, *shuffled))


def test_bad_news_about_a_stranger_is_not_taken_up() -> None:
    assert not table().is_news(rumour(1, 7, Health.DEAD))
    assert not table().is_news(rumour(1, 7, Health.LEFT))
    assert table().is_news(rumour(1, 7, Health.SUSPECT))


def test_a_full_table_refuses_strangers_and_still_learns_of_members() -> None:
    members = tell(table(limit=1), rumour(0), rumour(1))
    assert [each.name for each in members] == ["n0"]
    assert members.refused == 1
    assert members.is_news(rumour(0, 1))


def test_a_tombstone_is_forgotten_when_it_expires() -> None:
    members = tell(table(), rumour(0), rumour(0, 0, Health.DEAD))
    assert members.next_deadline() == 60.0
    assert members.bury(59.9) == []
    assert [each.name for each in members.bury(60.0)] == ["n0"]
    assert len(members) == 0
    assert members.next_deadline() == math.inf


def test_worse_news_about_the_dead_does_not_prolong_the_tombstone() -> None:
    members = tell(table(), rumour(0), rumour(0, 0, Health.DEAD))
    members.put(rumour(0, 0, Health.LEFT), now=50.0)
    assert members.next_deadline() == 60.0


def test_who_comes_back_has_no_tombstone() -> None:
    members = tell(table(), rumour(0), rumour(0, 0, Health.DEAD), rumour(0, 1))
    assert members.next_deadline() == math.inf
    assert members.count_present() == 1
