"""A picture of the screen: three people talk at two real nodes, and one of the screens is drawn."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

from chat.room import Fate
from chat.screen import Chat, Line
from maculaos.client import connect
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from textual.pilot import Pilot

    from chat.room import Room
    from chat.session import Session

SIZE: Final = (112, 20)
DEADLINE_S: Final = 30.0
_LOOK_S: Final = 0.05
ROOMS: Final = ("lobby", "garden")


async def draw(
    sessions: Sequence[Session], sockets: Sequence[Path], limit_s: float = DEADLINE_S
) -> str:
    """The screen of the last of three people as SVG; the others talk at the second node.

    Raises ``UsageError`` if they do not hear each other within ``limit_s`` seconds.
    """
    try:
        async with asyncio.timeout(limit_s):
            return await _draw(sessions, sockets)
    except TimeoutError:
        raise UsageError("the nodes do not hear each other", "see: macula members") from None


async def _draw(sessions: Sequence[Session], sockets: Sequence[Path]) -> str:
    bob, cleo, anna = sessions
    async with AsyncExitStack() as stack:
        for name in ROOMS:
            for session in sessions:
                session.house.enter(name)
        for session in (bob, cleo):
            await stack.enter_async_context(_living(session, sockets[1]))
        await _until(lambda: len(bob.house.roster) and len(cleo.house.roster))
        await bob.say("#lobby", "the pumps are back, all three of them")
        await bob.say("#lobby", "anna, can you look at node n3?")
        screen = Chat(anna, lambda: connect(sockets[0], name="chat"))
        pilot = await stack.enter_async_context(screen.run_test(size=SIZE))
        await _play(pilot, anna, bob, cleo)
        await _until(lambda: screen.is_drawn)
        await pilot.pause()
        return _without_fonts(screen.export_screenshot(title="python -m chat"))


async def _play(pilot: Pilot[None], anna: Session, bob: Session, cleo: Session) -> None:
    house = anna.house
    await _until(lambda: len(house.roster) == 2 and len(house.rooms["#lobby"].transcript) == 2)
    house.look_at("#lobby")
    await _type(pilot, "done: it was the old certificate")
    await cleo.say("#lobby", "nice! coffee?")
    await _type(pilot, "/me runs to the kitchen")
    await cleo.say("#garden", "the robin is back")
    await _until(lambda: bob.house.roster.find("anna")[0].is_first_hand)
    await bob.say(bob.whisper_to(bob.house.roster.find("anna")[0]), "you are quick, thank you")
    await cleo.toggle_away()
    await _until(lambda: house.roster.find("cleo")[0].state == "away")
    await _until(lambda: len(house.rooms["#lobby"].transcript) == 5 and len(house.rooms) == 3)
    await _until(lambda: house.rooms["#garden"].unread and _are_taken(house.rooms["#lobby"]))
    bob.house.look_at("#lobby")
    bob.note_writing()
    await _until(anna.writers)
    line = pilot.app.query_one(Line)
    line.value = "/msg bob any time"
    line.cursor_position = len(line.value)
    await pilot.pause()


async def _type(pilot: Pilot[None], text: str) -> None:
    pilot.app.query_one(Line).value = text
    await pilot.press("enter")
    await pilot.pause()


def _are_taken(room: Room) -> bool:
    marks = (room.mark_of(number) for number in (1, 2))
    return all(mark is not None and mark.fate is Fate.TAKEN for mark in marks)


@asynccontextmanager
async def _living(session: Session, socket: Path) -> AsyncIterator[None]:
    life = asyncio.create_task(session.run(lambda: connect(socket, name="chat")))
    try:
        yield
    finally:
        life.cancel()
        await asyncio.wait([life])


async def _until(what: Callable[[], object]) -> None:
    while not what():  # noqa: ASYNC110  # what is awaited is no event
        await asyncio.sleep(_LOOK_S)


def _without_fonts(svg: str) -> str:
    """A picture in a document loads nothing from elsewhere."""
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
