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
from maculaos.client import Event, Mesh, Value, connect
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
        join, members, find, publish, subscribe, register, call, stats, ping, version, reload,
    )  # fmt: skip
    for verb in verbs:
        app.command()(verb)


def join(
    address: Annotated[str, typer.Argument(help="Another node's host:port.")],
    socket: SocketOption = None,
) -> None:
    """Let the node dial ADDRESS and join the mesh there."""
    ask(socket, lambda mesh: mesh.join(address))
    _tell(f"the node dials {address}; see: macula members")


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
    _tell(f"{len(nodes)} found: {hops} hops, {asked} nodes asked{ending}")


def stats(socket: SocketOption = None, as_json: JsonOption = False) -> None:
    """Show the counters of the node."""
    _print_facts(ask(socket, lambda mesh: mesh.stats()), as_json)


def reload(socket: SocketOption = None) -> None:
    """Let the node read its configuration again; only its peers may have changed."""
    answer = ask(socket, lambda mesh: mesh.reload())
    _tell(f"reloaded; peers: {', '.join(answer.get('peers', ())) or 'none'}")


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


def publish(
    topic: Annotated[str, typer.Argument(help="The topic, such as room.temperature.")],
    value: Annotated[str | None, typer.Argument(help="JSON if it parses, else text.")] = None,
    from_stdin: Annotated[
        bool, typer.Option("--bytes", help="Publish the bytes of standard input.")
    ] = False,
    socket: SocketOption = None,
) -> None:
    """Publish VALUE to everyone who subscribes to TOPIC."""
    if from_stdin == (value is not None):
        raise UsageError("publish takes a VALUE or --bytes", "give exactly one of them")
    payload = _parse(value) if value is not None else sys.stdin.buffer.read()
    ask(socket, lambda mesh: mesh.publish(topic, payload))


def subscribe(
    topics: Annotated[list[str], typer.Argument(help="One topic or more.")],
    count: Annotated[int | None, typer.Option(min=1, help="End after that many events.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="End after that many seconds.")
    ] = None,
    wait: PatienceOption = 0.0,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the events of TOPICS, one on a line, as they come."""
    missing = ask(socket, lambda mesh: _print_events(mesh, topics, count, timeout, as_json), wait)
    if missing:
        raise MaculaError(f"{missing} of {count} events did not come within {timeout:g} s")


async def _print_events(
    mesh: Mesh, topics: list[str], count: int | None, limit_s: float | None, as_json: bool
) -> int:
    """Print events; return how many are missing at the end of the time."""
    left = count
    async with mesh.subscribe(*topics) as events:
        await mesh.ping()
        _tell(f"subscribed to {', '.join(topics)} at {mesh.node_name}")
        try:
            async with asyncio.timeout(limit_s):
                async for event in events:
                    typer.echo(_event_line(event, as_json))
                    left = None if left is None else left - 1
                    if left == 0:
                        break
        except TimeoutError:
            return left or 0
    return 0


def register(  # noqa: PLR0913  # typer takes one parameter per option
    method: Annotated[str, typer.Argument(help="The method, such as math.add.")],
    command: Annotated[
        list[str] | None, typer.Argument(help="With --exec: -- PROGRAM ARGUMENT...")
    ] = None,
    reply: Annotated[str | None, typer.Option(help="Answer every call with this value.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Answer with the value given.")] = False,
    run: Annotated[
        bool, typer.Option("--exec", help="Run PROGRAM: value as JSON in, result as JSON out.")
    ] = False,
    wait: PatienceOption = 0.0,
    socket: SocketOption = None,
) -> None:
    """Answer calls of METHOD until interrupted."""
    if (reply is not None) + echo + run != 1 or run != bool(command):
        raise UsageError(
            "register takes one of --reply VALUE, --echo, --exec",
            "for example: macula register math.add --exec -- python3 add.py",
        )
    answer = _parse(reply) if reply is not None else None
    program = tuple(command or ())

    async def handle(value: Value) -> Value:
        if run:
            return await asyncio.to_thread(_run_program, program, value)
        return value if echo else answer

    ask(socket, lambda mesh: _serve(mesh, method, handle), wait)


async def _serve(mesh: Mesh, method: str, handle: Callable[[Value], Awaitable[Value]]) -> NoReturn:
    async with mesh.register(method, handle):
        _tell(f"answering {method} at {mesh.node_name}; Ctrl-C ends it")
        raise await mesh.wait_lost()


def _run_program(command: tuple[str, ...], value: Value) -> Value:
    given = value if isinstance(value, bytes) else json.dumps(value).encode()
    said = SystemRunner().run(*command, stdin=given)
    try:
        result: Value = json.loads(said)
    except ValueError as error:
        raise UsageError(f"{command[0]} did not print JSON", "print one JSON value") from error
    return result


def call(
    method: Annotated[str, typer.Argument(help="The method to call.")],
    value: Annotated[str | None, typer.Argument(help="JSON if it parses, else text.")] = None,
    timeout: TimeoutOption = 5.0,
    socket: SocketOption = None,
) -> None:
    """Call METHOD anywhere in the realm and print the result as JSON (bytes as they are)."""
    given = None if value is None else _parse(value)
    result = ask(socket, lambda mesh: mesh.call(method, given, timeout))
    if isinstance(result, bytes):
        sys.stdout.buffer.write(result)
        sys.stdout.buffer.flush()
    else:
        print_json(result)


def ask(socket: Path | None, what: Callable[[Mesh], Awaitable[T]], patience_s: float = 0.0) -> T:
    """Connect, do ``what``, disconnect."""
    if socket is None:
        raise UsageError("no node is named", f"give --socket PATH or set {_SOCKET_VARIABLE}")

    async def run() -> T:
        async with connect(socket, name="macula", patience_s=patience_s) as mesh:
            return await what(mesh)

    return asyncio.run(run())


def _parse(text: str) -> Value:
    """JSON if it is JSON, else the text itself; so ``21.5`` is a number and ``warm`` is text."""
    try:
        value: Value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return text
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _event_line(event: Event, as_json: bool) -> str:
    if as_json:
        said = {"topic": event.topic, "publisher": event.publisher, "payload": event.payload}
        return json.dumps(said, default=_bytes_as_json)
    return f"{event.topic} {json.dumps(event.payload, default=_bytes_as_json)}"


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
    Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _printable(text: str) -> str:
    """A name or a version that another machine said must not steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _tell(text: str) -> None:
    typer.echo(text, err=True)
