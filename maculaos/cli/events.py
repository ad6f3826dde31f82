"""``macula publish`` and ``macula subscribe``: events, from the command line and to it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from maculaos.cli.mesh import (
    JsonOption,
    PatienceOption,
    SocketOption,
    TimeoutOption,
    ask,
    json_line,
    parse_value,
    tell,
)
from maculaos.errors import MaculaError, UsageError
from maculaos.host.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maculaos.client import Event, Mesh, Value

MAX_LINE: Final = 1024 * 1024
CHUNK: Final = 64 * 1024
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")


class Priority(StrEnum):
    """What overtakes what on a busy link."""

    URGENT = "urgent"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Policy(StrEnum):
    """What gives way when events come faster than they are printed."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"
    BLOCK = "block"
    DISCONNECT = "disconnect"


def seconds_of(text: str) -> float:
    """``90``, ``90s``, ``1.5m``, ``2h``, ``1d`` or ``200ms`` in seconds."""
    matched = _DURATION.fullmatch(text.strip())
    if matched is None:
        raise typer.BadParameter(f"{text!r} is no duration: write 30s, 5m, 1h or 1d")
    return float(matched[1]) * _UNITS[matched[2] or "s"]


@dataclass(frozen=True, slots=True)
class _Manner:
    """How values are published."""

    topic: str
    priority: str
    ttl_s: float | None
    retain_s: float
    acknowledge: bool
    timeout_s: float

    async def publish(self, mesh: Mesh, value: Value) -> int:
        """Publish one value; how many nodes confirmed it."""
        return await mesh.publish(
            self.topic,
            value,
            self.timeout_s,
            acknowledge=self.acknowledge,
            retain_s=self.retain_s,
            priority=self.priority,
            ttl_s=self.ttl_s,
        )

    async def publish_all(self, mesh: Mesh, values: list[Value]) -> None:
        """Publish values in their order; with ``acknowledge``, wait until all are taken."""
        topic, priority, ttl_s = self.topic, self.priority, self.ttl_s
        if self.acknowledge:
            await mesh.publish_many(
                topic, values, self.timeout_s, acknowledge=True, priority=priority, ttl_s=ttl_s
            )
            return
        for value in values:
            mesh.publish_now(topic, value, priority=priority, ttl_s=ttl_s, retain_s=self.retain_s)
        await mesh.drain()


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(publish)
    app.command()(subscribe)


def publish(  # noqa: PLR0913  # typer takes one parameter per option
    topic: Annotated[str, typer.Argument(help="The topic, such as room.temperature.")],
    value: Annotated[str | None, typer.Argument(help="JSON if it parses, else text.")] = None,
    from_stdin: Annotated[
        bool, typer.Option("--bytes", help="Publish the bytes of standard input.")
    ] = False,
    lines: Annotated[
        bool, typer.Option("--lines", help="Publish standard input, each line a VALUE.")
    ] = False,
    acknowledge: Annotated[
        bool, typer.Option("--acknowledge", "-a", help="Wait until every subscriber has it.")
    ] = False,
    retain: Annotated[
        float | None,
        typer.Option(parser=seconds_of, metavar="TIME", help="Keep it for later subscribers: 1h."),
    ] = None,
    priority: Annotated[
        Priority, typer.Option(help="What overtakes what on a busy link.")
    ] = Priority.NORMAL,
    ttl: Annotated[
        float | None,
        typer.Option(parser=seconds_of, metavar="TIME", help="Worthless after that time: 30s."),
    ] = None,
    timeout: TimeoutOption = 5.0,
    socket: SocketOption = None,
) -> None:
    """Publish VALUE to everyone who subscribes to TOPIC."""
    if (value is not None) + from_stdin + lines != 1:
        raise UsageError("publish takes a VALUE, --bytes or --lines", "give exactly one of them")
    if retain and lines:
        raise UsageError("--retain keeps one value", "publish it without --lines")
    if (from_stdin or lines) and sys.stdin is None:
        raise UsageError("standard input is closed", "open it, or give a VALUE")
    manner = _Manner(topic, priority.value, ttl, retain or 0.0, acknowledge, timeout)
    if lines:
        count = ask(socket, lambda mesh: _publish_lines(mesh, manner))
        tell(f"{count} lines published{', and taken by every subscriber' * acknowledge}")
        return
    payload = parse_value(value) if value is not None else sys.stdin.buffer.read()
    confirmed = ask(socket, lambda mesh: manner.publish(mesh, payload))
    if acknowledge:
        where = f"taken by every subscriber, on {confirmed} node{'s' * (confirmed != 1)}"
        tell(where if confirmed else f"nobody subscribes to {topic}")


async def _publish_lines(mesh: Mesh, manner: _Manner) -> int:
    """Publish each line of standard input as it comes, in order; how many there were."""
    count = 0
    async for lines in _lines():
        await manner.publish_all(mesh, [parse_value(line) for line in lines])
        count += len(lines)
    # An answer of the node: it has taken all that was said before.
    await mesh.ping()
    return count


async def _lines() -> AsyncIterator[list[str]]:
    """The lines of standard input, as they come, whether it is a file, a pipe or a terminal."""
    begun = b""
    while chunk := await in_thread(os.read, sys.stdin.fileno(), CHUNK):
        *whole, begun = (begun + chunk).split(b"\n")
        yield [line.decode(errors="replace").rstrip("\r") for line in whole]
        if len(begun) > MAX_LINE:
            raise UsageError(f"a line has more than {MAX_LINE} bytes", "use publish --bytes")
    if begun:
        yield [begun.decode(errors="replace")]


def subscribe(  # noqa: PLR0913  # typer takes one parameter per option
    patterns: Annotated[
        list[str],
        typer.Argument(help="Topics, or patterns: * is one word, a last ** the rest."),
    ],
    count: Annotated[int | None, typer.Option(min=1, help="End after that many events.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="End after that many seconds.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="Share the events with all who subscribe in this group.")
    ] = "",
    policy: Annotated[
        Policy, typer.Option(help="What gives way when events come too fast.")
    ] = Policy.DROP_OLDEST,
    queue: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="So many events may wait.")
    ] = 10_000,
    wait: PatienceOption = 0.0,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the events of PATTERNS, one on a line, as they come."""
    wish = _Wish(tuple(patterns), {"group": group, "policy": policy.value, "queue_size": queue})
    paper = _Paper(count, as_json)
    ask(socket, lambda mesh: _print_events(mesh, wish, paper, timeout), wait)
    if paper.left:
        raise MaculaError(f"{paper.left} of {count} events did not come within {timeout or 0:g} s")


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is subscribed to, and how."""

    patterns: tuple[str, ...]
    options: dict[str, Any]


@dataclass(slots=True)
class _Paper:
    """Where events are printed; ``left``: so many more, None for all that come."""

    left: int | None
    as_json: bool

    @property
    def is_full(self) -> bool:
        """Whether no more are wanted."""
        return self.left == 0

    def print(self, event: Event) -> None:
        typer.echo(_event_line(event, self.as_json))
        if self.left is not None:
            self.left -= 1


async def _print_events(mesh: Mesh, wish: _Wish, paper: _Paper, limit_s: float | None) -> None:
    """Print events until there are enough, or the time is over."""
    async with mesh.subscribe(*wish.patterns, **wish.options) as events:
        await events.ready()
        shared = f" in group {wish.options['group']}" if wish.options["group"] else ""
        tell(f"subscribed to {', '.join(wish.patterns)}{shared} at {mesh.node_name}")
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                async for event in events:
                    paper.print(event)
                    if paper.is_full:
                        break
        if events.dropped:
            tell(f"{events.dropped} events came too fast and were dropped")


def _event_line(event: Event, as_json: bool) -> str:
    if not as_json:
        return f"{event.topic} {json_line(event.payload)}"
    return json_line(
        {
            "topic": event.topic,
            "publisher": event.publisher,
            "sequence": event.sequence,
            "retained": event.is_retained,
            "payload": event.payload,
        }
    )
