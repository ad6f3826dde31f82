"""Interest of all nodes: words in any order, any number of times, lead to what was said last."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.pubsub.patterns import matches
from maculaos.pubsub.realm_interest import NEVER, Change, Outcome, RealmInterest, Version, Wish
from maculaos.pubsub.topics import InvalidTopic

ANN, BOB = (NodeId(bytes([number]) * 32) for number in (1, 2))
WISHES = st.sampled_from(
    [("a", "", 1), ("a.*", "", 1), ("a.**", "g", 2), ("b", "", 1), ("b", "g", 1), ("b", "g", 3)]
)


def interest(limit: int = 100, share: int = 50, nodes: int = 10) -> RealmInterest:
    return RealmInterest(limit, share, nodes)


def tell(realm: RealmInterest, node: NodeId, change: Change, *, is_there: bool = True) -> Outcome:
    outcome = realm.judge(node, change)
    if outcome is Outcome.NEW:
        realm.apply(node, change, is_there=is_there)
    return outcome


def story(toggles: list[Wish]) -> tuple[list[Change], list[set[Wish]]]:
    """Changes that a node says one after the other, and what it wants after each."""
    wants: set[Wish] = set()
    changes, states = [], []
    for number, wish in enumerate(toggles, start=1):
        if wish in wants:
            changes.append(Change(1, number, (), (wish,)))
        else:
            changes.append(Change(1, number, (wish,)))
        wants ^= {wish}
        states.append(set(wants))
    return changes, states


@given(st.lists(WISHES, min_size=1, max_size=12), st.integers(0, 2**32))
def test_any_order_with_asking_for_the_whole_leads_to_what_was_said_last(
    toggles: list[Wish], seed: int
) -> None:
    changes, states = story(toggles)
    rng = random.Random(seed)  # replays the run
    heard = rng.choices(changes, k=3 * len(changes))
    realm = interest()
    for change in [*heard, changes[-1]]:
        if tell(realm, ANN, change) is Outcome.GAP:
            whole = Change(1, change.number, tuple(sorted(states[change.number - 1])), (), True)
            assert tell(realm, ANN, whole) is Outcome.NEW
    assert set(realm.wishes_of(ANN)) == states[-1]
    assert realm.version_of(ANN) == Version(1, len(changes))
    assert len(realm) == len(states[-1])
    for topic in ("a", "b", "a.x", "a.x.y"):
        expected = [
            (ANN, group, weight) for pattern, group, weight in states[-1] if matches(pattern, topic)
        ]
        assert sorted(realm.match(topic)) == sorted(expected)


def test_a_later_life_replaces_what_an_earlier_one_wanted() -> None:
    realm = interest()
    tell(realm, ANN, Change(1, 1, (("old", "", 1),)))
    assert tell(realm, ANN, Change(2, 1, (("new", "", 1),))) is Outcome.NEW
    assert list(realm.wishes_of(ANN)) == [("new", "", 1)]
    assert tell(realm, ANN, Change(1, 9, (("old", "", 1),))) is Outcome.OLD


def test_who_is_not_there_gets_nothing_and_comes_back_with_all() -> None:
    realm = interest()
    tell(realm, ANN, Change(1, 1, (("a", "", 1),)), is_there=False)
    assert realm.match("a") == []
    assert realm.appear(ANN) == (("a", "", 1),)
    assert realm.appear(ANN) == ()
    assert realm.match("a") == [(ANN, "", 1)]
    realm.vanish(ANN)
    assert realm.match("a") == []
    assert len(realm) == 1
    realm.forget(ANN)
    assert len(realm) == 0
    assert realm.version_of(ANN) is NEVER


def test_nobody_wants_more_than_a_share_nor_all_more_than_the_limit() -> None:
    realm = interest(limit=5, share=3)
    four = tuple((f"t{number}", "", 1) for number in range(4))
    assert tell(realm, ANN, Change(1, 1, four)) is Outcome.REFUSED
    assert tell(realm, ANN, Change(1, 1, four[:3])) is Outcome.NEW
    assert tell(realm, BOB, Change(1, 1, four[:3])) is Outcome.REFUSED
    assert tell(realm, BOB, Change(1, 1, four[:2])) is Outcome.NEW
    assert len(realm) == 5


def test_more_nodes_than_the_limit_push_out_who_is_not_there() -> None:
    realm = interest(nodes=2)
    for number in (1, 2):
        node = NodeId(bytes([number]) * 32)
        tell(realm, node, Change(1, 1, (("a", "", 1),)), is_there=number == 1)
    assert tell(realm, NodeId(bytes([3]) * 32), Change(1, 1, (("a", "", 1),))) is Outcome.NEW
    assert realm.version_of(BOB) is NEVER


def test_wishes_of_who_is_not_there_give_way_to_others() -> None:
    realm = interest(limit=5, share=5)
    five = tuple((f"t{number}", "", 1) for number in range(5))
    assert tell(realm, ANN, Change(1, 1, five), is_there=False) is Outcome.NEW
    assert tell(realm, BOB, Change(1, 1, five[:1])) is Outcome.NEW
    assert len(realm) == 1


@pytest.mark.parametrize(
    "absurd", [("b*", "", 1), ("b", "x" * 65, 1), ("b", "g", 0), ("b", "g", 65)]
)
def test_what_nobody_can_want_changes_nothing(absurd: Wish) -> None:
    realm = interest()
    with pytest.raises(InvalidTopic):
        realm.apply(ANN, Change(1, 1, (("a", "", 1), absurd)), is_there=True)
    assert realm.match("a") == []


def test_only_what_others_have_heard_more_of_is_missing() -> None:
    realm = interest()
    tell(realm, ANN, Change(3, 1, (("a", "", 1),)))
    told = [
        (ANN, Version(3, 1)),
        (ANN, Version(3, 2)),
        (ANN, Version(4, 0)),
        (BOB, Version(9, 0)),
        (BOB, Version(9, 1)),
    ]
    assert realm.missing(told, lambda _: True) == [ANN, ANN, BOB]
    assert realm.missing(told, lambda node: node == ANN) == [ANN, ANN]
