"""Believing is a join: order, grouping and repetition of rumours do not matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.rumour import Health, Rumour, believe

SUBJECT = NodeId(bytes(32))
rumours = st.builds(
    Rumour,
    incarnation=st.integers(0, 3),
    health=st.sampled_from(Health),
    addresses=st.sampled_from([("a:1",), ("b:2",), ()]),
    name=st.just("n1"),
    node_id=st.just(SUBJECT),
)


def rumour(incarnation: int, health: Health) -> Rumour:
    return Rumour(incarnation, health, ("a:1",), "n1", SUBJECT)


@given(rumours, rumours)
def test_believing_commutes(one: Rumour, other: Rumour) -> None:
    assert believe(one, other) == believe(other, one)


@given(rumours, rumours, rumours)
def test_believing_associates(one: Rumour, two: Rumour, three: Rumour) -> None:
    assert believe(believe(one, two), three) == believe(one, believe(two, three))


@given(rumours)
def test_hearing_again_changes_nothing(one: Rumour) -> None:
    assert believe(one, one) == one


def test_worse_news_wins_at_equal_incarnation() -> None:
    held = rumour(4, Health.ALIVE)
    for heard in (rumour(4, Health.SUSPECT), rumour(4, Health.DEAD), rumour(4, Health.LEFT)):
        held = believe(held, heard)
        assert held == heard


def test_higher_incarnation_wins_over_any_news() -> None:
    assert believe(rumour(4, Health.LEFT), rumour(5, Health.ALIVE)) == rumour(5, Health.ALIVE)
