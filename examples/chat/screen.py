"""The screen of the chat: rooms on the left, the talk in the middle, the people on the right.

Thin: it shows what ``chat.view`` draws of the house, and hands what is typed to the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rich.emoji import Emoji
from rich.markup import escape
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer, Input, OptionList, Static
from textual.widgets.option_list import Option

from chat import view
from chat.house import WRITING_S
from chat.names import MAX_TEXT
from chat.orders import HELP, Order, completions, read_order
from chat.paper import Paper
from maculaos.errors import MaculaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from chat.room import Room
    from chat.session import Session
    from maculaos.client import Mesh

MAX_REMEMBERED: Final = 100
# What changes within so many seconds is drawn once.
FRAME_S: Final = 0.04


class Line(Input):
    """Where the person types; Tab completes, the arrows bring back what was typed before."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", show=False),
        Binding("up", "recall(-1)", "Earlier", show=False),
        Binding("down", "recall(1)", "Later", show=False),
        Binding("pageup", "app.page(-1)", "Up", show=False),
        Binding("pagedown", "app.page(1)", "Down", show=False),
    ]

    def __init__(self, suggest: Callable[[str], list[str]]) -> None:
        super().__init__(placeholder="say something, or /help", max_length=MAX_TEXT)
        self._suggest = suggest
        self._offers: list[str] = []
        self._typed: list[str] = []
        self._place = 0

    def remember(self, line: str) -> None:
        """Keep ``line`` for the arrows."""
        self._typed = [*self._typed, line][-MAX_REMEMBERED:]
        self._place = len(self._typed)

    def action_complete(self) -> None:
        """Complete what is typed; again: the next that fits."""
        if self.value not in self._offers:
            self._offers = self._suggest(self.value)
            at = 0
        else:
            at = (self._offers.index(self.value) + 1) % len(self._offers)
        if self._offers:
            self.value = self._offers[at]
            self.cursor_position = len(self.value)

    def action_recall(self, step: int) -> None:
        """Bring back what was typed before, or after that."""
        self._place = max(0, min(len(self._typed), self._place + step))
        self.value = self._typed[self._place] if self._place < len(self._typed) else ""
        self.cursor_position = len(self.value)


class Chat(App[None]):
    """One person's screen; ``open_mesh`` connects to the node."""

    TITLE = "MaculaOS chat"
    CSS = """
    #bar { height: 1; padding: 0 1; background: $panel; }
    #rooms { width: 22; height: 1fr; border: none; padding: 1 1; background: $boost; }
    #people { width: 24; height: 1fr; padding: 1 2; background: $boost; }
    #talk { padding: 1 1; background: $background; scrollbar-size-vertical: 1;
           scrollbar-background: $background; }
    #writing { height: 1; padding: 0 2; color: $text-muted; background: $background; }
    #people.narrow, #rooms.narrow { display: none; }
    Line { border: round $primary; background: $background; margin: 0 1; height: 3; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+n", "turn(1)", "Next room", priority=True),
        Binding("ctrl+b", "turn(-1)", "Room before", priority=True),
        Binding("f1", "help", "Help"),
        Binding("ctrl+q", "leave_chat", "Quit", priority=True),
    ]

    def __init__(
        self, session: Session, open_mesh: Callable[[], AbstractAsyncContextManager[Mesh]]
    ) -> None:
        super().__init__()
        self.theme = "tokyo-night"
        self.session = session
        self._house = session.house
        self._open_mesh = open_mesh
        self._is_dirty = False
        self._unread = 0
        self._shown: Room | None = None
        self._labels: list[tuple[str, Text]] = []
        session.on_change = self.note

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static(id="bar")
        with Horizontal():
            yield OptionList(id="rooms")
            with Vertical():
                yield Paper("talk")
                yield Static(id="writing")
                yield Line(self._completions)
            yield Static(id="people")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to live on the mesh."""
        self.query_one("#rooms", OptionList).can_focus = False
        self.query_one(Line).focus()
        self.run_worker(self.session.run(self._open_mesh), name="mesh")
        self.set_interval(WRITING_S / 2, self._draw_writers)
        self.note()

    def on_resize(self) -> None:
        """Lines are broken anew; on a narrow screen only the talk is left."""
        for part in ("#people", "#rooms"):
            self.query_one(part).set_class(self.size.width < 80, "narrow")
        self.note()

    @property
    def is_drawn(self) -> bool:
        """Whether the screen shows all that has changed."""
        return not self._is_dirty

    def note(self) -> None:
        """Something changed: draw it, once for all that changes now."""
        if not self._is_dirty and self.is_running:
            self._is_dirty = True
            self.set_timer(FRAME_S, self._draw)

    def on_input_changed(self, typed: Input.Changed) -> None:
        """Let the others know that somebody writes; an order is nobody's business."""
        if typed.value and not typed.value.startswith("/"):
            self.session.note_writing()

    async def on_input_submitted(self, typed: Input.Submitted) -> None:
        """Do what was typed."""
        line = typed.value
        typed.input.clear()
        if line.strip():
            self.query_one(Line).remember(line)
            await self._obey(line)

    def on_option_list_option_selected(self, chosen: OptionList.OptionSelected) -> None:
        """Look at the room that was clicked."""
        if chosen.option.id in self._house.rooms:
            self._house.look_at(chosen.option.id)
            self.note()

    def action_turn(self, step: int) -> None:
        """Look at the next room, or the one before."""
        keys, current = list(self._house.rooms), self._house.current
        if keys:
            at = keys.index(current) + step if current else 0
            self._house.look_at(keys[at % len(keys)])
            self.note()

    def action_page(self, step: int) -> None:
        """Look at what was said before, or after that."""
        paper = self.query_one(Paper)
        paper.scroll_relative(y=step * (paper.size.height - 1), animate=False)

    async def action_help(self) -> None:
        """Say what can be typed."""
        for name, (takes, does) in HELP.items():
            self._tell(f"/{name} {takes}".rstrip() + f": {does}")

    async def action_leave_chat(self) -> None:
        """Say goodbye, and end."""
        await self.session.say_goodbye()
        self.exit()

    # What is typed.

    async def _obey(self, line: str) -> None:
        try:
            order = read_order(line)
            await self._orders()[order.name](order)
        except MaculaError as error:
            self._tell(str(error))

    def _orders(self) -> dict[str, Callable[[Order], Awaitable[None]]]:
        return {
            "say": self._say,
            "me": self._say,
            "msg": self._whisper,
            "join": self._join,
            "leave": lambda _: self.session.leave(self._current()),
            "nick": lambda order: self.session.rename(order.words[0]),
            "away": lambda _: self.session.toggle_away(),
            "who": self._who,
            "rooms": self._rooms,
            "clear": self._clear,
            "help": lambda _: self.action_help(),
            "quit": lambda _: self.action_leave_chat(),
        }

    async def _say(self, order: Order) -> None:
        self._send(self._current(), order.words[0], is_action=order.name == "me")

    async def _whisper(self, order: Order) -> None:
        name, text = order.words
        found = self._house.roster.find(name)
        if not found:
            raise UsageError(f"nobody is called {name}", "see /who")
        if len(found) > 1:
            labels = " or ".join(map(self._house.roster.label, found))
            raise UsageError(f"{len(found)} are called {name}", f"say {labels}")
        self._send(self.session.whisper_to(found[0]), text)

    def _send(self, key: str, text: str, *, is_action: bool = False) -> None:
        message = self.session.compose(key, Emoji.replace(text), is_action=is_action)
        # The answer is not waited for: the mark beside the line tells what became of it.
        self.run_worker(self.session.carry(self._house.rooms[key], message), group="say")

    async def _join(self, order: Order) -> None:
        await self.session.enter(order.words[0])

    async def _who(self, order: Order) -> None:
        del order
        for line in view.who(self._house):
            self._tell(line)

    async def _rooms(self, order: Order) -> None:
        del order
        counted = self._house.roster.rooms()
        for name, count in sorted(counted.items()):
            besides = " besides you" if f"#{name}" in self._house.rooms else ""
            self._tell(f"#{name}: {count}{besides}")
        if not counted:
            self._tell("nobody else is in a room")

    async def _clear(self, order: Order) -> None:
        del order
        self._house.looked_at.clear()
        self.note()

    def _current(self) -> str:
        """The key of the room that is looked at; raises ``UsageError`` if there is none."""
        if not self._house.current:
            raise UsageError("you are in no room", "enter one: /join lobby")
        return self._house.current

    def _tell(self, text: str) -> None:
        self.session.tell(self._house.current, text)

    def _completions(self, line: str) -> list[str]:
        roster = self._house.roster
        rooms = {*roster.rooms(), *(room.name for room in self._house.rooms.values())}
        return completions(line, [roster.label(each) for each in roster], sorted(rooms))

    # What is drawn.

    def _draw(self) -> None:
        self._is_dirty = False
        if not self.is_running or not self.query("#talk"):
            return
        room = self._house.looked_at
        self._draw_bar()
        self._draw_rooms()
        self.query_one(Paper).write(view.talk(self._house, room), is_new=room is not self._shown)
        self._shown = room
        self.query_one("#people", Static).update(view.people(self._house, room))
        self._draw_writers()
        self._ring()

    def _draw_writers(self) -> None:
        self.query_one("#writing", Static).update(Text(view.writers(self.session.writers())))

    def _draw_bar(self) -> None:
        session, house = self.session, self._house
        where = session.trouble or f"realm {session.realm}, node {session.node_name}"
        colour = "bold red" if session.trouble else "dim"
        title = house.title(house.current) if house.current else "no room"
        self.query_one("#bar", Static).update(
            f"[bold]{escape(title)}[/]   {escape(house.me.nick)}   [{colour}]{escape(where)}[/]"
        )

    def _draw_rooms(self) -> None:
        house = self._house
        labels = [(key, view.room_label(house, key)) for key in house.rooms]
        shown = self.query_one("#rooms", OptionList)
        if labels != self._labels:
            self._labels = labels
            shown.clear_options()
            shown.add_options(Option(label, id=key) for key, label in labels)
        if house.current in house.rooms:
            shown.highlighted = list(house.rooms).index(house.current)

    def _ring(self) -> None:
        """Ring if something is said elsewhere to this person, or of them."""
        rooms = self._house.rooms.values()
        unread = sum(room.unread for room in rooms if room.is_private or self._is_called(room))
        if unread > self._unread:
            self.bell()
        self._unread = unread

    def _is_called(self, room: Room) -> bool:
        last = room.transcript.messages[-room.unread :] if room.unread else ()
        return any(view.is_called(self._house.me.nick, each.text) for each in last)
