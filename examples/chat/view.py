"""What the screen shows of a house, as rich text. Nothing is read from the mesh or written to it.

Texts of others are shown as they are: no markup in them means anything.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Final
from zlib import crc32

from rich.style import Style
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
_DIM: Final = Style(dim=True)


def colour_of(seat: str) -> str:
    """The colour of a person: the same on every screen."""
    return _NICK_COLOURS[crc32(seat.encode()) % len(_NICK_COLOURS)]


def talk(house: House, room: Room, zone: tzinfo | None = None) -> Iterator[RenderableType]:
    """What was said and what happened in ``room``, one thing each, with a line for each new day."""
    before: Line | None = None
    lines = deque(room.lines(), maxlen=MAX_LINES)
    for line in lines:
        day = _time(line.at_ms, zone).date()
        if before is not None and _time(before.at_ms, zone).date() != day:
            yield Text(f"{day:%A, %d %B %Y}", style="dim", justify="center")
        yield (
            _noticed(line, zone)
            if isinstance(line, Notice)
            else _said(house, room, line, before, zone)
        )
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


def is_called(nick: str, text: str) -> bool:
    """Whether ``text`` speaks of ``nick``."""
    words = (word.strip("@,.:;!?()'\"") for word in text.lower().split())
    return nick.lower() in words


def _said(
    house: House, room: Room, message: Message, before: Line | None, zone: tzinfo | None
) -> RenderableType:
    is_own = message.seat == house.me.seat
    is_same = (
        isinstance(before, Message)
        and before.seat == message.seat
        and before.nick == message.nick
        and message.at_ms - before.at_ms < SAME_BREATH_MS
        and not (message.is_action or before.is_action)
    )
    words = Text(message.text, overflow="fold")
    if not is_own and is_called(house.me.nick, message.text):
        words.stylize("bold #ff9e64")
    name = Text("" if is_same else message.nick, f"bold {colour_of(message.seat)}")
    if message.is_action:
        words = Text.assemble((f"{message.nick} ", colour_of(message.seat)), words)
        words.stylize("italic")
        name = Text("*", colour_of(message.seat))
    mark = _mark(room.mark_of(message.number) if is_own else None)
    if room.transcript.is_hearsay(message):
        mark = Text("≈", _DIM)
    return _row(_time(message.at_ms, zone), name, words, mark)


def _noticed(notice: Notice, zone: tzinfo | None) -> RenderableType:
    return _row(_time(notice.at_ms, zone), Text("—", _DIM), Text(notice.text, "dim italic"), Text())


def _row(at: datetime, name: Text, words: Text, mark: Text) -> RenderableType:
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(width=5, no_wrap=True)
    row.add_column(width=NICK_WIDTH, justify="right", no_wrap=True, overflow="ellipsis")
    row.add_column(ratio=1)
    row.add_column(justify="right", max_width=40)
    row.add_row(Text(f"{at:%H:%M}", _DIM), name, words, mark)
    return row


def _mark(mark: Mark | None) -> Text:
    if mark is None:
        return Text()
    sign, style = _MARKS[mark.fate]
    return Text(f"{sign} {mark.detail}".rstrip(), style)


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
