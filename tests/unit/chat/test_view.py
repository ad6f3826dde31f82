"""Laws of the view: what others say is shown as they said it, and nothing else is."""

from __future__ import annotations

import io
from datetime import UTC

from rich.console import Console

from chat import view
from chat.house import House, Me
from chat.message import Message
from chat.room import Fate, Mark
from chat.roster import Beat, State

N1 = "1" * 64
ME, ANNA = "0" * 16, "a" * 16
NOON = 12 * 3600 * 1000


def house() -> House:
    made = House(Me(ME, "me", 0))
    made.enter("lobby")
    made.hear_beat(Beat(ANNA, "anna", ("lobby",)), N1, 0, NOON)
    return made


def drawn(made: House) -> list[str]:
    console = Console(width=80, file=io.StringIO(), record=True, color_system=None)
    for row in view.talk(made, made.rooms["#lobby"], UTC):
        console.print(row.drawn())
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def say(made: House, text: str, number: int = 1, at_ms: int = NOON) -> None:
    made.hear("lobby", Message(at_ms, ANNA, number, "anna", text), N1, at_ms)


def test_markup_of_others_means_nothing() -> None:
    made = house()
    say(made, "[red]hi[/red] [link=x]")
    assert drawn(made) == ["12:00 anna [red]hi[/red] [link=x]"]


def test_who_goes_on_in_one_breath_is_named_once_and_each_day_has_a_line() -> None:
    made = house()
    say(made, "one")
    say(made, "two", 2, NOON + 1000)
    say(made, "three", 3, NOON + 13 * 3_600_000)
    assert drawn(made) == [
        "12:00 anna one",
        "12:00 two",
        "Friday, 02 January 1970",
        "01:00 anna three",
    ]


def test_whoever_speaks_in_between_is_named() -> None:
    made = house()
    say(made, "one")
    made.compose("#lobby", "two", NOON)
    say(made, "three", 3, NOON + 9)
    assert [line.split()[1] for line in drawn(made)] == ["anna", "me", "anna"]


def test_own_messages_show_what_became_of_them() -> None:
    made = house()
    room = made.rooms["#lobby"]
    made.compose("#lobby", "hello", NOON)
    assert drawn(made) == ["12:00 me hello …"]
    room.mark(1, Mark(Fate.TAKEN))
    assert drawn(made) == ["12:00 me hello ✓"]
    room.mark(1, Mark(Fate.FAILED, "nobody is there"))
    assert drawn(made) == ["12:00 me hello ✗ nobody is there"]


def test_rows_are_equal_exactly_if_they_look_and_stand_equal() -> None:
    made = house()
    room = made.rooms["#lobby"]
    for number in (1, 2):
        say(made, "twice", number)
    made.notice("#lobby", "twice", NOON)
    made.notice("#lobby", "twice", NOON)
    before = list(view.talk(made, room, UTC))
    assert len(set(before)) == 4
    made.compose("#lobby", "more", NOON)
    assert list(view.talk(made, room, UTC))[:4] == before


def test_hearsay_actions_and_notices_look_different() -> None:
    made = house()
    made.learn("lobby", [Message(NOON, ANNA, 7, "anna", "waves", is_action=True)], NOON)
    made.notice("#lobby", "bob left", NOON)
    assert drawn(made) == ["12:00 * anna waves ≈", "12:00 — bob left"]


def test_the_list_of_people_says_how_they_are() -> None:
    made = house()
    assert view.people(made, made.rooms["#lobby"]).plain == "● me (you)\n● anna"
    made.pass_time(1, NOON, [N1])
    made.toggle_away()
    assert view.people(made, made.rooms["#lobby"]).plain == "◐ me (you)\n○ anna"
    assert view.who(made) == [f"anna: {State.LOST}, in #lobby"]


def test_who_writes_is_told_in_words() -> None:
    assert view.writers([]) == ""
    assert view.writers(["anna"]) == "anna is writing …"
    assert view.writers(["anna", "bob"]) == "anna and bob are writing …"
    assert view.writers(list("abcd")) == "4 people are writing …"


def test_one_hears_ones_name_only_as_a_word() -> None:
    assert view.is_called("anna", "Anna: are you there?")
    assert not view.is_called("anna", "hannah")


def test_unread_words_are_counted_beside_the_room() -> None:
    made = house()
    made.enter("garden")
    say(made, "hello")
    assert view.room_label(made, "#lobby").plain == "#lobby  1"
    key = made.open_private(made.roster.find("anna")[0])
    assert view.room_label(made, key).plain == "● anna"
