"""``macula discovery``: where a node looks for others, what it found, and what is in the way."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maculaos.cli.mesh import JsonOption, SocketOption, ask, print_json
from maculaos.errors import RemoteProtocolError

if TYPE_CHECKING:
    import typer

    from maculaos.client import Mesh

_COLOURS = {"on": "green", "failing": "yellow", "off": "dim"}
_PIPE_WIDTH = 400


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(discovery)


def discovery(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Show where the node looks for others, what each source said last, and its error."""
    sources = ask(socket, _sources)
    if as_json:
        print_json(sources)
        return
    table = Table("source", "state", "last result", "addresses", "error", box=None, pad_edge=False)
    for one in sources:
        table.add_row(*map(escape, _row(one)), style=_COLOURS.get(str(one.get("state"))))
    # Whoever reads from a pipe wants whole lines, not what fits a terminal.
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


async def _sources(mesh: Mesh) -> list[dict[str, Any]]:
    answer = await mesh.call("macula.discovery")
    if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
        raise RemoteProtocolError("macula.discovery: the node answered something else than a list")
    return [each for each in answer if isinstance(each, dict)]


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    ago_s, addresses = one.get("last_result_s"), one.get("addresses")
    when = f"{ago_s:.0f} s ago" if isinstance(ago_s, int | float) else "-"
    found = " ".join(map(str, addresses)) if isinstance(addresses, list) else ""
    row = (one.get("source"), one.get("state"), when, found or "-", one.get("error") or "-")
    return tuple(_printable(str(each)) for each in row)


def _printable(text: str) -> str:
    """What other machines said must not steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)
