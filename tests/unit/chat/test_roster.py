"""Laws of the roster: who speaks for whom, who is lost when, and what is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chat.roster import (
    FORGET_S,
    MAX_MEMBERS,
    SILENCE_S,
    Beat,
    Roster,
    Seen,
    State,
    beat_from_value,
    seen_from_value,
)

if TYPE_CHECKING:
    from chat.roster import Change, Member

N1, N2 = "1" * 64, "2" * 64
SEATS = ("a" * 16, "b" * 16, "c" * 16)


def beat(seat: str = SEATS[0], nick: str = "anna", **changes: object) -> Beat:
    return Beat(seat, nick, ("lobby",), **changes)  # type: ignore[arg-type]


BEATS = st.builds(
    Beat,
    st.sampled_from(SEATS),
    st.sampled_from(["anna", "bob"]),
    st.sampled_from([(), ("lobby",), ("lobby", "garden")]),
    st.sampled_from(State),
)
STEPS = st.lists(st.tuples(BEATS, st.sampled_from([N1, N2]), st.floats(0, 5)), max_size=30)


def replay(steps: list[tuple[Beat, str, float]]) -> tuple[Roster, list[Change], float]:
    roster, changes, now = Roster(), [], 0.0
    for heard, node_id, later in steps:
        now += later
        changes += roster.pass_time(now, ())
        change = roster.hear(heard, node_id, now)
        changes += [change] if change else []
    return roster, changes, now


@given(STEPS)
def test_changes_tell_all_that_became_of_everybody(steps: list[tuple[Beat, str, float]]) -> None:
    roster, changes, _ = replay(steps)
    told: dict[str, Member] = {}
    for change in changes:
        known = told.pop(change.after.seat, None)
        if known is not None:
            assert change.before is not None
            assert (change.before.nick, change.before.state) == (known.nick, known.state)
        if change.after.state is not State.GONE:
            told[change.after.seat] = change.after
    assert {each.seat: each.state for each in roster} == {k: v.state for k, v in told.items()}


@given(STEPS)
def test_nobody_is_reachable_who_is_silent(steps: list[tuple[Beat, str, float]]) -> None:
    roster, _, now = replay(steps)
    roster.pass_time(now + SILENCE_S + 0.1, ())
    assert not [each for each in roster if each.is_reachable]
    roster.pass_time(now + FORGET_S + 0.1, ())
    assert len(roster) == 0


def test_only_its_own_node_speaks_for_a_member() -> None:
    roster = Roster()
    roster.hear(beat(), N1, 0)
    assert roster.hear(beat(nick="mallory"), N2, 1) is None
    assert roster.hear(beat(state=State.GONE), N2, 1) is None
    assert [each.nick for each in roster] == ["anna"]


def test_what_others_tell_yields_to_what_a_member_says_itself() -> None:
    roster = Roster()
    roster.learn(Seen(beat(nick="ann"), N2), 0)
    change = roster.hear(beat(), N1, 1)
    assert change is not None
    assert [(each.nick, each.node_id) for each in roster] == [("anna", N1)]
    assert roster.learn(Seen(beat(nick="liar"), N2), 2) is None


def test_a_member_whose_node_dies_is_lost_at_once_and_back_with_its_next_beat() -> None:
    roster = Roster()
    roster.hear(beat(), N1, 0)
    (change,) = roster.pass_time(0.1, [N1])
    assert change.after.state is State.LOST
    assert roster.is_node_gone(change.after)
    back = roster.hear(beat(), N1, 0.2)
    assert back is not None
    assert back.after.state is State.HERE
    # The mesh still holds the node for dead; the member was heard since.
    assert roster.pass_time(0.3, [N1]) == []


def test_to_say_the_same_again_changes_nothing_but_the_silence() -> None:
    roster = Roster()
    assert roster.hear(beat(), N1, 0) is not None
    assert roster.hear(beat(), N1, SILENCE_S) is None
    assert roster.pass_time(SILENCE_S + 1, ()) == []


def test_others_are_told_only_of_who_was_heard_and_can_be_reached() -> None:
    roster = Roster()
    roster.hear(beat(SEATS[0]), N1, 0)
    roster.hear(beat(SEATS[1]), N2, 0)
    roster.learn(Seen(beat(SEATS[2]), N1), 0)
    roster.pass_time(0.1, [N2])
    assert [each.beat.seat for each in roster.tell()] == [SEATS[0]]


def test_two_of_one_name_are_told_apart() -> None:
    roster = Roster()
    roster.hear(beat(SEATS[0]), N1, 0)
    assert [roster.label(each) for each in roster] == ["anna"]
    roster.hear(beat(SEATS[1]), N2, 0)
    labels = [roster.label(each) for each in roster]
    assert labels == ["anna~aaa", "anna~bbb"]
    assert len(roster.find("anna")) == 2
    assert [each.seat for each in roster.find("@anna~bbb")] == [SEATS[1]]


def test_a_full_roster_forgets_the_lost_before_it_refuses() -> None:
    roster = Roster()
    for number in range(MAX_MEMBERS):
        roster.hear(beat(f"{number:016x}"), N1, number / 1000)
    assert roster.hear(beat(SEATS[0]), N1, 1) is None
    roster.pass_time(1, [N1])
    assert roster.hear(beat(SEATS[0]), N2, 1.1) is not None
    assert len(roster) == MAX_MEMBERS


def test_who_is_there_longest_is_asked_first() -> None:
    roster = Roster()
    for number, seat in enumerate(SEATS):
        roster.hear(beat(seat, since_ms=10 - number), N1, 0)
    assert [each.seat for each in roster.who_knows("lobby", 2)] == [SEATS[2], SEATS[1]]
    assert roster.who_knows("garden", 2) == []


@given(BEATS)
def test_what_is_told_comes_back(heard: Beat) -> None:
    value = msgspec.to_builtins(heard)
    assert beat_from_value(value) == heard
    roster = Roster()
    roster.hear(heard, N1, 0)
    told = roster.tell()
    assert seen_from_value(msgspec.to_builtins(told)) == told
