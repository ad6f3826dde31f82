"""Believing is a join: order, grouping and repetition of rumours do not matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.rumour import Health, Rumour, beats, believe, fingerprint

SUBJECT, ACCUSER = NodeId(bytes(32)), NodeId(b"a" * 32)
rumours = st.builds(
    Rumour,
    incarnation=st.integers(0, 3),
    health=st.sampled_from(Health),
    addresses=st.sampled_from([("a:1",), ("b:2",), ()]),
    name=st.just("n1"),
    node_id=st.just(SUBJECT),
    metadata=st.sampled_from([b"", b"x"]),
    accuser=st.sampled_from([NodeId(b""), ACCUSER]),
)


def rumour(incarnation: int, health: Health) -> Rumour:
    return Rumour(incarnation, health, ("a:1",), "n1", SUBJECT)


@given(rumours, rumours)
def test_believing_commutes(one: Rumour, other: Rumour) -> None:
    assert believe(one, other).said == believe(other, one).said


@given(rumours, rumours, rumours)
def test_believing_associates(one: Rumour, two: Rumour, three: Rumour) -> None:
    left, right = believe(believe(one, two), three), believe(one, believe(two, three))
    assert left.said == right.said


@given(rumours)
def test_hearing_again_changes_nothing(one: Rumour) -> None:
    assert believe(one, one) is one


@given(rumours, rumours)
def test_nothing_raises_the_dead_but_a_higher_incarnation(held: Rumour, heard: Rumour) -> None:
    if held.health.is_gone and not believe(held, heard).health.is_gone:
        assert heard.incarnation > held.incarnation


def test_worse_news_wins_at_equal_incarnation() -> None:
    held = rumour(4, Health.ALIVE)
    for heard in (rumour(4, Health.SUSPECT), rumour(4, Health.DEAD), rumour(4, Health.LEFT)):
        held = believe(held, heard)
        assert held == heard


def test_higher_incarnation_wins_over_any_news() -> None:
    assert believe(rumour(4, Health.LEFT), rumour(5, Health.ALIVE)) == rumour(5, Health.ALIVE)


def test_who_says_it_is_no_part_of_what_is_said() -> None:
    held = rumour(4, Health.SUSPECT)
    assert not beats(held._replace(accuser=ACCUSER), held)
    assert fingerprint(held._replace(accuser=ACCUSER)) == fingerprint(held)


@given(rumours, rumours)
def test_fingerprints_tell_apart_what_the_present_say_of_themselves(
    one: Rumour, other: Rumour
) -> None:
    if one.health.is_gone or other.health.is_gone:
        return
    is_same = (one.incarnation, one.said[2:]) == (other.incarnation, other.said[2:])
    assert (fingerprint(one) == fingerprint(other)) == is_same


def test_the_gone_have_no_fingerprint() -> None:
    assert fingerprint(rumour(1, Health.DEAD)) == fingerprint(rumour(9, Health.LEFT)) == 0


def test_fingerprint_is_what_the_protocol_says() -> None:
    said = Rumour(258, Health.ALIVE, ("a:1", "b:2"), "n1", SUBJECT, b"meta")
    # BLAKE2b with a digest of 8 bytes of 32 zero bytes, 258, "n1\\na:1\\nb:2", "\\n\\n", "meta".
    assert fingerprint(said) == 0xF57484D3CC2C5BF6
