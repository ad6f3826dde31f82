"""``python -m chat``: sit down at a node and talk."""

from __future__ import annotations

import asyncio
import getpass
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO, TypeAlias

import typer

from chat.house import House, Me
from chat.names import check_nick
from chat.picture import draw
from chat.screen import Chat
from chat.session import Session
from maculaos.client import connect
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from maculaos.client import Mesh

Way: TypeAlias = "Callable[[], AbstractAsyncContextManager[Mesh]]"
SOCKET_VARIABLE = "MACULA_SOCKET"
# Who is in the picture; the last one's screen is drawn.
PEOPLE = ("bob", "cleo", "anna")
SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", envvar=SOCKET_VARIABLE, help="The node's control socket."),
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def talk(
    socket: SocketOption = None,
    config: Annotated[
        Path | None, typer.Option(help="Instead: the configuration of a node to run in here.")
    ] = None,
    nick: Annotated[str, typer.Option(help="What others call you; else: your login.")] = "",
    room: Annotated[
        list[str] | None, typer.Option(help="A room to enter; can be repeated. [default: lobby]")
    ] = None,
) -> None:
    """Sit down at a node and talk."""
    if socket is None and config is None:
        what = f"give --socket PATH or --config FILE, or set {SOCKET_VARIABLE}"
        raise UsageError("no node is named", what)
    session = new_session(nick or _login(), SystemEntropy().draw(8).hex())
    for name in room or ["lobby"]:
        session.house.enter(name)
    way = _way_to(socket, config)
    asyncio.run(_knock(way))
    Chat(session, way).run()


@app.command()
def picture(
    out: Annotated[Path, typer.Argument(help="Where the SVG goes.")],
    sockets: Annotated[list[Path], typer.Option("--socket", help="The sockets of two nodes.")],
) -> None:
    """Let three people talk at two nodes, and draw the screen of one, for documents."""
    if len(sockets) != 2:
        raise UsageError("a picture takes two nodes", "give --socket twice")
    sessions = [new_session(nick, f"{n:016x}") for n, nick in enumerate(PEOPLE, start=1)]
    # Opened first: a place that cannot be written should not cost the talk.
    with _opened(out) as file:
        drawn = asyncio.run(draw(sessions, sockets))
        file.truncate(0)
        file.write(drawn)


def new_session(nick: str, seat: str) -> Session:
    """A session of a person called ``nick`` who has just come; raises ``UsageError``."""
    clock = SystemClock()
    return Session(House(Me(seat, check_nick(nick), int(clock.now() * 1000))), clock)


def _opened(path: Path) -> TextIO:
    """The file to write, with what is in it; raises ``UsageError``."""
    try:
        return path.open("a")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", "name another file") from error


def _login() -> str:
    """The name of this user, as far as it can be a nick."""
    try:
        login = getpass.getuser()
    except (KeyError, OSError):
        # In a container a user may have no name.
        login = ""
    return re.sub(r"[^\w.-]", "", login)[:24] or "somebody"


def _way_to(socket: Path | None, config: Path | None) -> Way:
    """How to come to the node: one of this machine, or one that lives in this program."""
    if config is not None:
        # What the node logs would be written over the screen; `macula top` shows more.
        logging.getLogger("maculaos").addHandler(logging.NullHandler())
        return lambda: connect(embedded=str(config), name="chat")
    return lambda: connect(socket, name="chat")


async def _knock(way: Way) -> None:
    """Raise before the screen is taken over if there is no node."""
    async with way() as mesh:
        await mesh.ping()


def main() -> None:
    """Run the program; what is in the way is one line."""
    try:
        app()
    except MaculaError as error:
        typer.echo(f"chat: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
