"""The verbs that talk to a running node, over its control socket and the public client."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from maculaos import __version__
from maculaos.client import connect
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.client import Mesh, Value

T = TypeVar("T")
_SOCKET_VARIABLE = "MACULA_SOCKET"
_PIPE_WIDTH = 400
_HEALTH_COLOURS = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}

SocketOption = Annotated[
    Path | None,
    typer.Option("--socket", envvar=_SOCKET_VARIABLE, help="The node's control socket."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
# Programs that a supervisor starts together with their node come up before it does.
PatienceOption = Annotated[
    float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the node to come up.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.001, max=3600, help="Seconds to wait.")
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    verbs: tuple[Callable[..., None], ...] = (
        join, members, find, stats, ping, version, reload,
    )  # fmt: skip
    for verb in verbs:
        app.command()(verb)


def join(
    address: Annotated[str, typer.Argument(help="Another node's host:port.")],
    socket: SocketOption = None,
) -> None:
    """Let the node dial ADDRESS and join the mesh there."""
    ask(socket, lambda mesh: mesh.join(address))
    tell(f"the node dials {address}; see: macula members")


def members(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """List the members of the realm that the node knows."""
    known = ask(socket, lambda mesh: mesh.members())
    if as_json:
        print_json(known)
        return
    table = Table("name", "health", "node id", "addresses", "link", box=None, pad_edge=False)
    for one in known:
        link = "self" if one.get("is_self") else "up" if one.get("linked") else "-"
        health = str(one.get("health"))
        identity = str(one.get("node_id"))[:8]
        addresses = " ".join(map(str, one.get("addresses", ())))
        row = (str(one.get("name")), health, identity, addresses, link)
        table.add_row(*map(escape, row), style=_HEALTH_COLOURS.get(health))
    _show(table)


def find(
    node: Annotated[
        str | None, typer.Argument(help="A member's name, or a node id in hex.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Find who subscribes to this topic.")] = None,
    method: Annotated[str | None, typer.Option(help="Find who answers this method.")] = None,
    timeout: TimeoutOption = 10.0,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look up NODE and those closest to it, or who wants a topic or answers a method."""
    found = ask(
        socket,
        lambda mesh: mesh.find(node, topic=topic, method=method, timeout_s=timeout),
    )
    if as_json:
        print_json(found)
        return
    nodes = found.get("nodes", ())
    table = Table("name", "node id", "addresses", box=None, pad_edge=False)
    for one in nodes:
        addresses = " ".join(map(str, one.get("addresses", ())))
        row = (str(one.get("name") or "-"), str(one.get("node_id"))[:8], addresses)
        table.add_row(*map(escape, map(_printable, row)))
    if nodes:
        _show(table)
    ending = "" if found.get("complete") else "; there may be more"
    hops, asked = found.get("hops"), found.get("asked")
    tell(f"{len(nodes)} found: {hops} hops, {asked} nodes asked{ending}")


def stats(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Show the counters of the node."""
    _print_facts(ask(socket, lambda mesh: mesh.stats()), as_json)


def reload(socket: SocketOption = None) -> None:
    """Let the node read its configuration again: peers, where it listens, credentials."""
    answer = ask(socket, lambda mesh: mesh.reload())
    tell(f"reloaded; peers: {', '.join(answer.get('peers', ())) or 'none'}")


def version(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Show the version of this program and, if one is named, of the node."""
    facts: dict[str, Any] = {"macula": __version__}
    if socket is not None:
        facts["node"] = ask(socket, lambda mesh: mesh.version())
    _print_facts(facts, as_json)


def ping(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Ask the node for a sign of life and show how long it took."""
    clock = SystemClock()

    async def measure(mesh: Mesh) -> tuple[str, float]:
        began = clock.monotonic()
        await mesh.ping()
        return mesh.node_name, (clock.monotonic() - began) * 1000

    name, rtt_ms = ask(socket, measure)
    if as_json:
        print_json({"name": name, "rtt_ms": round(rtt_ms, 3)})
    else:
        typer.echo(f"{name} answered in {rtt_ms:.1f} ms")


def ask(socket: Path | None, what: Callable[[Mesh], Awaitable[T]], patience_s: float = 0.0) -> T:
    """Connect, do ``what``, disconnect."""
    if socket is None:
        raise UsageError("no node is named", f"give --socket PATH or set {_SOCKET_VARIABLE}")

    async def run() -> T:
        async with connect(socket, name="macula", patience_s=patience_s, reconnect=False) as mesh:
            return await what(mesh)

    return asyncio.run(run())


def parse_value(text: str) -> Value:
    """JSON if it is JSON, else the text itself; so ``21.5`` is a number and ``warm`` is text."""
    try:
        value: Value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def json_line(value: object) -> str:
    """``value`` as JSON on one line; bytes as base64."""
    return json.dumps(value, default=_bytes_as_json)


def _bytes_as_json(value: object) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"a {type(value).__name__} is no JSON")


def print_json(value: object) -> None:
    """Print ``value`` for machines; bytes as base64."""
    typer.echo(json.dumps(value, indent=2, default=_bytes_as_json))


def _print_facts(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    rows = _flat(facts)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Rows of ``links.0.name`` and a value, for people; machines take ``--json``."""
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(number), item) for number, item in enumerate(value)]
    else:
        return [(name, _printable(str(value)))]
    return [row for key, item in inner for row in _flat(item, f"{name}.{key}" if name else key)]


def _show(table: Table) -> None:
    # Whoever reads from a pipe wants whole lines, not what fits a terminal.
    Console(width=None if sys.stdout and sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _printable(text: str) -> str:
    """A name or a version that another machine said must not steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def tell(text: str) -> None:
    """Say something to people; data goes to standard output."""
    typer.echo(text, err=True)
