"""Laws of the house: what is shown, to whom one listens, whom one asks, what one is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.agreement import PATIENCE_S
from chat.house import (
    MAX_PRIVATE,
    WITNESSES,
    WRITING_S,
    House,
    Me,
    Question,
)
from chat.message import MAX_AHEAD_MS, Message
from chat.roster import MAX_ROOMS_OF_ONE, Beat, Seen, State
from maculaos.errors import UsageError

N1, N2 = "1" * 64, "2" * 64
ME, ANNA, BOB = "0" * 16, "a" * 16, "b" * 16
NOW = 1_000_000


def house(*rooms: str) -> House:
    made = House(Me(ME, "me", NOW))
    for room in rooms or ("lobby",):
        made.enter(room)
    return made


def beat(seat: str = ANNA, nick: str = "anna", since_ms: int = NOW - 1, **more: object) -> Beat:
    return Beat(seat, nick, ("lobby",), since_ms=since_ms, **more)  # type: ignore[arg-type]


def said(text: str, seat: str = ANNA, number: int = 1, at_ms: int = NOW) -> Message:
    return Message(at_ms, seat, number, "anna", text)


def notices(made: House, key: str = "#lobby") -> list[str]:
    return [notice.text for notice in made.rooms[key].notices]


def test_what_is_said_in_a_room_that_is_not_looked_at_is_unread() -> None:
    made = house("lobby", "garden")
    assert made.hear("lobby", said("hello"), N1, NOW)
    assert not made.hear("lobby", said("hello"), N1, NOW)
    assert made.rooms["#lobby"].unread == 1
    made.look_at("#lobby")
    assert made.rooms["#lobby"].unread == 0
    assert not made.hear("cellar", said("hello"), N1, NOW)


def test_nobody_speaks_from_another_node_with_the_seat_of_somebody() -> None:
    made = house()
    made.hear_beat(beat(), N1, 0, NOW)
    assert not made.hear("lobby", said("forged"), N2, NOW)
    assert not made.hear_private(said("forged"), N2, NOW)
    assert list(made.rooms) == ["#lobby"]
    assert made.hear("lobby", said("real"), N1, NOW)
    assert not made.hear("lobby", said("mine", seat=ME), N2, NOW)
    assert made.learn("lobby", [said("mine", seat=ME, number=9)], NOW) == 0


def test_a_message_from_far_ahead_is_not_believed() -> None:
    made = house()
    assert not made.hear("lobby", said("soon", at_ms=NOW + MAX_AHEAD_MS + 1), N1, NOW)
    assert made.learn("lobby", [said("soon", at_ms=NOW + MAX_AHEAD_MS + 1)], NOW) == 0
    # When its time comes, it is.
    assert made.learn("lobby", [said("soon", at_ms=NOW + MAX_AHEAD_MS + 1)], NOW + 2) == 1


@given(st.integers(-10, MAX_AHEAD_MS + 10), st.integers(0, 10))
def test_what_was_taken_stands_above_its_answer_whatever_the_clock_of_who_asked(
    ahead_ms: int, later_ms: int
) -> None:
    made = house()
    is_taken = made.hear("lobby", said("question", at_ms=NOW + ahead_ms), N1, NOW)
    made.compose("#lobby", "answer", NOW + later_ms)
    lines = [line.text for line in made.rooms["#lobby"].lines()]
    assert lines == ["question", "answer"][not is_taken :]
    assert is_taken == (ahead_ms < MAX_AHEAD_MS)


def test_a_private_word_of_a_stranger_is_refused_and_of_a_member_opens_a_room() -> None:
    made = house()
    assert not made.hear_private(said("psst"), N1, NOW)
    made.hear_beat(beat(), N1, 0, NOW)
    assert made.hear_private(said("psst"), N1, NOW)
    assert made.title(f"@{ANNA}") == "@anna"
    assert made.rooms[f"@{ANNA}"].unread == 1
    assert made.current == "#lobby"


def test_who_writes_is_shown_until_it_speaks_or_stops() -> None:
    made = house()
    assert not made.hear_writing("lobby", ANNA, N1, 0)
    made.hear_beat(beat(), N1, 0, NOW)
    assert not made.hear_writing("lobby", ANNA, N2, 0)
    assert made.hear_writing("lobby", ANNA, N1, 1)
    assert not made.hear_writing("lobby", ANNA, N1, 2)
    assert made.writers("#lobby", 2 + WRITING_S - 0.1) == ["anna"]
    assert made.writers("#lobby", 2 + WRITING_S) == []
    made.hear_writing("lobby", ANNA, N1, 9)
    made.hear("lobby", said("hello"), N1, NOW)
    assert made.writers("#lobby", 9) == []


def test_own_words_stand_below_what_they_answer() -> None:
    made = house()
    made.hear("lobby", said("question", at_ms=NOW + 5000), N1, NOW)
    answer = made.compose("#lobby", "answer", NOW)
    assert [line.text for line in made.rooms["#lobby"].lines()] == ["question", "answer"]
    assert answer.number == 1
    with pytest.raises(UsageError):
        made.compose("#lobby", " \x1b ", NOW)


def test_people_are_told_who_comes_goes_and_gets_lost() -> None:
    made = house()
    made.hear_beat(beat(since_ms=NOW + 1), N1, 0, NOW)
    made.hear_beat(beat(BOB, "bob"), N2, 0, NOW)
    made.pass_time(0.1, NOW, [N2])
    made.hear_beat(beat(BOB, "bob"), N2, 0.2, NOW)
    made.hear_beat(beat(BOB, "rob"), N2, 0.3, NOW)
    made.hear_beat(beat(BOB, "rob", state=State.GONE), N2, 0.4, NOW)
    assert notices(made) == [
        "anna came in",  # bob was there before
        "bob is out of reach: its node is gone",
        "bob is back",
        "bob is now rob",
        "rob left",
    ]


def test_who_was_there_before_is_asked_what_was_said_and_who_came_later_is_not() -> None:
    made = house()
    (question,) = made.hear_beat(beat(), N1, 0, NOW)
    assert (question.member.seat, question.room) == (ANNA, "lobby")
    assert made.hear_beat(beat(), N1, 1, NOW) == []
    assert made.hear_beat(beat(BOB, "bob", since_ms=NOW + 1), N2, 1, NOW) == []
    (learned,) = made.learn_members([Seen(beat("c" * 16, "cleo"), N2)], 1, NOW)
    assert learned.member.nick == "cleo"
    assert {each.member.seat for each in made.enter("lobby")[1]} == {ANNA, BOB, "c" * 16}


def test_a_few_witnesses_are_enough() -> None:
    made = house()
    asked = [
        made.hear_beat(beat(f"{number:016x}", since_ms=NOW - 100 + number), N1, 0, NOW)
        for number in range(1, WITNESSES + 3)
    ]
    assert [len(each) for each in asked] == [1] * WITNESSES + [0, 0]


def test_whoever_comes_back_from_a_cut_is_asked() -> None:
    made = house()
    made.hear_beat(beat(since_ms=NOW + 1), N1, 0, NOW)
    made.pass_time(0.1, NOW, [N1])
    (question,) = made.hear_beat(beat(since_ms=NOW + 1), N1, 0.2, NOW)
    assert question == Question(question.member, "lobby")


def test_who_holds_to_something_else_for_a_while_is_asked_for_it() -> None:
    made, there = house(), house()
    made.hear_beat(beat(), N1, 0, NOW)
    there.hear("lobby", said("that"), N1, NOW)
    digest = there.beat().digests
    assert made.hear_beat(beat(digests=digest), N1, 1, NOW) == []
    (question,) = made.hear_beat(beat(digests=digest), N1, 1 + PATIENCE_S, NOW)
    assert (question.member.seat, question.room) == (ANNA, "lobby")
    made.learn("lobby", [said("that")], NOW)
    assert made.beat().digests == digest
    assert made.hear_beat(beat(digests=digest), N1, 99, NOW) == []


def test_rooms_and_conversations_are_bounded() -> None:
    made = house(*(f"r{number}" for number in range(MAX_ROOMS_OF_ONE)))
    with pytest.raises(UsageError, match="leave one"):
        made.enter("one-more")
    for number in range(MAX_PRIVATE + 5):
        seat = f"{number:016x}"
        made.hear_beat(beat(f"f{seat[1:]}", f"n{number}"), N1, 0, NOW)
        made.hear_private(said("psst", seat=f"f{seat[1:]}"), N1, NOW)
    assert len(made.rooms) == MAX_ROOMS_OF_ONE + MAX_PRIVATE


def test_of_too_many_conversations_neither_the_one_looked_at_nor_an_unread_one_gives_way() -> None:
    made, seats = house(), [f"{number:016x}" for number in range(1, MAX_PRIVATE + 3)]
    for seat in seats:
        made.hear_beat(beat(seat), N1, 0, NOW)
    for seat in seats[:MAX_PRIVATE]:
        assert made.hear_private(said("psst", seat=seat), N1, NOW)
    # The third was read, and the first is.
    made.look_at(f"@{seats[2]}")
    made.look_at(f"@{seats[0]}")
    for seat in seats[MAX_PRIVATE:]:
        assert made.hear_private(said("psst", seat=seat), N1, NOW)
    assert made.title(made.current) == "@" + made.roster.label(made.roster.find("anna")[0])
    gone = [seat for seat in seats if f"@{seat}" not in made.rooms]
    assert gone == [seats[1], seats[2]]


def test_what_is_told_where_there_is_no_room_is_shown_until_one_is_entered() -> None:
    made = house("lobby")
    made.leave("#lobby")
    made.notice("", "enter one", NOW)
    assert [notice.text for notice in made.looked_at.notices] == ["enter one"]
    made.enter("lobby")
    assert notices(made) == []
    assert made.looked_at is made.rooms["#lobby"]


def test_leaving_the_room_that_is_looked_at_looks_at_another() -> None:
    made = house("lobby", "garden")
    made.leave("#garden")
    assert made.current == "#lobby"
    made.leave("#lobby")
    assert made.current == ""
    assert made.beat().rooms == ()


def test_the_beat_says_what_is_known_of_each_room() -> None:
    made = house("lobby", "garden")
    made.hear("lobby", said("hello"), N1, NOW)
    assert made.beat().rooms == ("lobby", "garden")
    assert made.beat().digests[0] > 0
    assert made.beat().digests[1] == 0
    made.toggle_away()
    assert made.beat().state is State.AWAY
    assert made.goodbye().state is State.GONE
    assert made.tell(N1)[0].node_id == N1


def test_a_notice_stands_below_what_was_said_whatever_the_clock_of_who_said_it() -> None:
    made = house()
    made.hear("lobby", said("soon", at_ms=NOW + 9000), N1, NOW)
    made.notice("#lobby", "first", NOW)
    made.notice("#lobby", "second", NOW)
    assert [line.text for line in made.rooms["#lobby"].lines()] == ["soon", "first", "second"]


def test_a_cleared_screen_shows_only_what_comes() -> None:
    made = house()
    made.hear("lobby", said("old"), N1, NOW)
    room = made.rooms["#lobby"]
    room.clear()
    made.compose("#lobby", "new", NOW)
    assert [line.text for line in room.lines()] == ["new"]
    assert len(room.transcript) == 2
