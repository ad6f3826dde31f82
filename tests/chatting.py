"""People who chat in tests: sessions at real nodes, and waiting for what they come to see."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chat.house import House, Me
from chat.message import Message
from chat.session import Session
from maculaos.client import connect
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from node_process import free_port, yard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from chat.__main__ import Way
    from node_process import Yard

DEADLINE_S = 20.0


def two_nodes() -> Iterator[Yard]:
    """A mesh of n1 and n2, for a fixture."""
    with yard() as place:
        first = free_port()
        place.configure("n1", first)
        place.configure("n2", free_port(), (first,))
        place.start("n1")
        place.start("n2")
        yield place


def make_session(nick: str, on_change: Callable[[], None] = lambda: None) -> Session:
    """A session of a person called ``nick``, in no room yet."""
    clock = SystemClock()
    me = Me(SystemEntropy().draw(8).hex(), nick, int(clock.now() * 1000))
    return Session(House(me), clock, on_change)


@asynccontextmanager
async def living(session: Session, node: Path | Way, room: str = "lobby") -> AsyncIterator[Session]:
    """Let ``session`` live at a node, in a room; cut off without a goodbye at the end.

    ``node`` is its control socket, or a way to it.
    """
    await session.enter(room)
    way = node if callable(node) else lambda: connect(node, name="chat")
    life = asyncio.create_task(session.run(way))
    try:
        await until(lambda: not session.trouble or life.done(), "connected")
        yield session
    finally:
        life.cancel()
        await asyncio.wait([life])
        if not life.cancelled():
            life.result()


async def until(what: Callable[[], object], saying: str) -> None:
    """Wait until ``what`` holds; fail with ``saying`` if it does not in time."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not what():  # noqa: ASYNC110  # what is awaited is no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S:g} s: {saying}") from None


def texts(session: Session, key: str = "#lobby") -> list[str]:
    """What that person sees said in a room, in order."""
    room = session.house.rooms.get(key)
    return [line.text for line in room.lines() if isinstance(line, Message)] if room else []


def notices(session: Session, key: str = "#lobby") -> list[str]:
    """What that person was told of in a room."""
    return [notice.text for notice in session.house.rooms[key].notices]


def people(session: Session) -> dict[str, str]:
    """Nick and state of everybody else that this person knows of."""
    return {member.nick: str(member.state) for member in session.house.roster}
