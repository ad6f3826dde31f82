"""``python -m chat``: sit down at a node and talk."""

from __future__ import annotations

import asyncio
import getpass
import re
import sys
from pathlib import Path
from typing import Annotated

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

SOCKET_VARIABLE = "MACULA_SOCKET"
SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", envvar=SOCKET_VARIABLE, help="The node's control socket."),
]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def talk(
    socket: SocketOption = None,
    nick: Annotated[str, typer.Option(help="What others call you; else: your login.")] = "",
    room: Annotated[
        list[str] | None, typer.Option(help="A room to enter; can be repeated. [default: lobby]")
    ] = None,
) -> None:
    """Sit down at a node and talk."""
    if socket is None:
        raise UsageError("no node is named", f"give --socket PATH or set {SOCKET_VARIABLE}")
    session = new_session(nick or _login())
    for name in room or ["lobby"]:
        session.house.enter(name)
    asyncio.run(_knock(socket))
    Chat(session, lambda: connect(socket, name="chat")).run()


@app.command()
def picture(
    out: Annotated[Path, typer.Argument(help="Where the SVG goes.")],
    sockets: Annotated[list[Path], typer.Option("--socket", help="The sockets of two nodes.")],
) -> None:
    """Let three people talk at two nodes, and draw the screen of one, for documents."""
    if len(sockets) != 2:
        raise UsageError("a picture takes two nodes", "give --socket twice")
    sessions = [new_session(nick) for nick in ("bob", "cleo", "anna")]
    out.write_text(asyncio.run(draw(sessions, sockets)))


def new_session(nick: str) -> Session:
    """A session of a person called ``nick`` who has just come; raises ``UsageError``."""
    clock = SystemClock()
    seat = SystemEntropy().draw(8).hex()
    return Session(House(Me(seat, check_nick(nick), int(clock.now() * 1000))), clock)


def _login() -> str:
    """The name of this user, as far as it can be a nick."""
    return re.sub(r"[^\w.-]", "", getpass.getuser())[:24] or "somebody"


async def _knock(socket: Path) -> None:
    """Raise before the screen is taken over if there is no node."""
    async with connect(socket, name="chat") as mesh:
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
