"""What the screen shows of a house, as rich text. Nothing is read from the mesh or written to it.

Texts of others are shown as they are: no markup in them means anything.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from zlib import crc32

from rich.table import Table
from rich.text import Text

from chat.message import Message
from chat.room import Fate, Notice
from chat.roster import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from chat.house import House
    from chat.room import Line, Mark, Room

# More of the past than this is not drawn.
MAX_LINES: Final = 300
# Whoever goes on within so many milliseconds is not named again.
SAME_BREATH_MS: Final = 180_000
NICK_WIDTH: Final = 12
MARK_WIDTH: Final = 24
# More people are only counted.
MAX_WRITERS: Final = 3
_NICK_COLOURS: Final = (
    "#7aa2f7", "#9ece6a", "#e0af68", "#f7768e", "#bb9af7", "#7dcfff", "#2ac3de", "#73daca",
)  # fmt: skip
_DOTS: Final = {
    State.HERE: ("●", "#9ece6a"),
    State.AWAY: ("◐", "#e0af68"),
    State.LOST: ("○", "#f7768e"),
    State.GONE: ("○", "#565f89"),
}
_MARKS: Final = {
    Fate.ON_ITS_WAY: ("…", "dim"),
    Fate.TAKEN: ("✓", "#9ece6a"),
    Fate.FAILED: ("✗", "#f7768e"),
}


def colour_of(seat: str) -> str:
    """The colour of a person: the same on every screen."""
    return _NICK_COLOURS[crc32(seat.encode()) % len(_NICK_COLOURS)]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing on the paper, as it looks; equal rows look equal."""

    # Where it stands; two things that are said in the same words are two rows.
    place: tuple[int, str, int]
    time: str
    words: str
    words_style: str = ""
    name: str = ""
    name_style: str = ""
    mark: str = ""
    mark_style: str = ""

    def drawn(self) -> RenderableType:
        """It, for a terminal. No markup in it means anything."""
        if not self.time:
            return Text(self.words, self.words_style, justify="center")
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=5, no_wrap=True)
        row.add_column(width=NICK_WIDTH, justify="right", no_wrap=True, overflow="ellipsis")
        row.add_column(ratio=1)
        row.add_column(justify="right", max_width=MARK_WIDTH)
        row.add_row(
            Text(self.time, "dim"),
            Text(self.name, self.name_style),
            Text(self.words, self.words_style, overflow="fold"),
            Text(self.mark, self.mark_style),
        )
        return row


def talk(house: House, room: Room, zone: tzinfo | None = None) -> Iterator[Row]:
    """What was said and what happened in ``room``, one thing each, with a row for each new day."""
    before: Line | None = None
    for number, line in enumerate(deque(room.lines(), maxlen=MAX_LINES)):
        at = _time(line.at_ms, zone)
        if before is not None and _time(before.at_ms, zone).date() != at.date():
            yield Row((line.at_ms, "", 0), "", f"{at:%A, %d %B %Y}", "dim")
        if isinstance(line, Notice):
            place = (line.at_ms, line.text, number)
            yield Row(place, f"{at:%H:%M}", line.text, "dim italic", "—", "dim")
        else:
            yield _said(house, room, line, f"{at:%H:%M}", is_same=_is_same_breath(before, line))
        before = line


def people(house: House, room: Room) -> Text:
    """Who is in ``room``, with this person first."""
    text = Text()
    own = State.AWAY if house.me.state is State.AWAY else State.HERE
    _add_person(text, own, house.me.nick, house.me.seat, " (you)")
    roster = house.roster
    there = (
        [member for member in [roster.get(room.name)] if member is not None]
        if room.is_private
        else roster.in_room(room.name)
    )
    for member in there:
        _add_person(text, member.state, roster.label(member), member.seat)
    return text


def room_label(house: House, key: str) -> Text:
    """A room in the list of rooms, with how much of it is unread."""
    room = house.rooms[key]
    member = house.roster.get(room.name) if room.is_private else None
    text = Text(no_wrap=True, overflow="ellipsis")
    if member is not None:
        dot, style = _DOTS[member.state]
        text.append(f"{dot} ", style)
    text.append(house.title(key).removeprefix("@"), "bold" if room.unread else "")
    if room.unread:
        text.append(f"  {min(room.unread, 999)}", "bold #ff9e64")
    return text


def who(house: House) -> list[str]:
    """Everybody that is known, one a line, and where they are."""
    lines = [
        f"{house.roster.label(each)}: {each.state}, in "
        + (", ".join(f"#{room}" for room in sorted(each.rooms)) or "no room")
        for each in house.roster
    ]
    return lines or ["nobody else is here"]


def writers(labels: list[str]) -> str:
    """Who is writing, in words; nothing if nobody is."""
    if not labels:
        return ""
    if len(labels) > MAX_WRITERS:
        return f"{len(labels)} people are writing …"
    return f"{' and '.join(labels)} {'is' if len(labels) == 1 else 'are'} writing …"


def is_called(nick: str, text: str) -> bool:
    """Whether ``text`` speaks of ``nick``."""
    words = (word.strip("@,.:;!?()'\"") for word in text.lower().split())
    return nick.lower() in words


def _said(house: House, room: Room, message: Message, time: str, *, is_same: bool) -> Row:
    is_own = message.seat == house.me.seat
    is_to_me = not is_own and is_called(house.me.nick, message.text)
    colour = colour_of(message.seat)
    mark, mark_style = _mark(room.mark_of(message.number) if is_own else None)
    if room.transcript.is_hearsay(message):
        mark, mark_style = "≈", "dim"
    name, words, style = message.nick, message.text, "bold #ff9e64" if is_to_me else ""
    if message.is_action:
        name, words, style = "*", f"{message.nick} {message.text}", f"italic {colour}"
    elif is_same:
        name = ""
    return Row(message.place, time, words, style, name, f"bold {colour}", mark, mark_style)


def _is_same_breath(before: Line | None, line: Message) -> bool:
    """Whether ``line`` goes on where ``before`` ended, so that nobody need be named again."""
    return (
        isinstance(before, Message)
        and before.seat == line.seat
        and before.nick == line.nick
        and line.at_ms - before.at_ms < SAME_BREATH_MS
        and not (line.is_action or before.is_action)
    )


def _mark(mark: Mark | None) -> tuple[str, str]:
    if mark is None:
        return "", ""
    sign, style = _MARKS[mark.fate]
    return f"{sign} {mark.detail}".rstrip(), style


def _add_person(text: Text, state: State, name: str, seat: str, ending: str = "") -> None:
    dot, style = _DOTS[state]
    if text:
        text.append("\n")
    text.append(f"{dot} ", style)
    text.append(name, colour_of(seat) if state in {State.HERE, State.AWAY} else "dim")
    text.append(ending, "dim")


def _time(at_ms: int, zone: tzinfo | None) -> datetime:
    """When that was, in the time zone of the reader (None: the machine's)."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zone)
