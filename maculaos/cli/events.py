"""``macula publish`` and ``macula subscribe``: events, from the command line and to it."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

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

    from maculaos.client import Event, Mesh

# Lines that are under way at once.
MAX_UNDER_WAY: Final = 256
MAX_LINE: Final = 1024 * 1024
CHUNK: Final = 64 * 1024


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(publish)
    app.command()(subscribe)


def publish(  # typer takes one parameter per option
    topic: Annotated[str, typer.Argument(help="The topic, such as room.temperature.")],
    value: Annotated[str | None, typer.Argument(help="JSON if it parses, else text.")] = None,
    from_stdin: Annotated[
        bool, typer.Option("--bytes", help="Publish the bytes of standard input.")
    ] = False,
    lines: Annotated[
        bool, typer.Option("--lines", help="Publish standard input, each line a VALUE.")
    ] = False,
    timeout: TimeoutOption = 5.0,
    socket: SocketOption = None,
) -> None:
    """Publish VALUE to everyone who subscribes to TOPIC."""
    if (value is not None) + from_stdin + lines != 1:
        raise UsageError("publish takes a VALUE, --bytes or --lines", "give exactly one of them")
    if lines:
        count = ask(socket, lambda mesh: _publish_lines(mesh, topic, timeout))
        tell(f"{count} lines published")
        return
    payload = parse_value(value) if value is not None else sys.stdin.buffer.read()
    ask(socket, lambda mesh: mesh.publish(topic, payload, timeout))


async def _publish_lines(mesh: Mesh, topic: str, timeout_s: float) -> int:
    """Publish each line of standard input as it comes, in order; how many there were."""
    count = 0
    room = asyncio.Semaphore(MAX_UNDER_WAY)
    try:
        async with asyncio.TaskGroup() as under_way:
            async for line in _lines():
                await room.acquire()
                task = under_way.create_task(mesh.publish(topic, parse_value(line), timeout_s))
                task.add_done_callback(lambda _: room.release())
                count += 1
    except ExceptionGroup as failed:
        # One line for people: the first failure stands for all.
        raise failed.exceptions[0] from None
    return count


async def _lines() -> AsyncIterator[str]:
    """The lines of standard input, as they come, whether it is a file, a pipe or a terminal."""
    begun = b""
    while chunk := await in_thread(sys.stdin.buffer.read1, CHUNK):
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
        if len(begun) > MAX_LINE:
            raise UsageError(f"a line has more than {MAX_LINE} bytes", "use publish --bytes")
    if begun:
        yield begun.decode(errors="replace")


def subscribe(  # typer takes one parameter per option
    topics: Annotated[
        list[str],
        typer.Argument(help="One topic or more."),
    ],
    count: Annotated[int | None, typer.Option(min=1, help="End after that many events.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.001, help="End after that many seconds.")
    ] = None,
    wait: PatienceOption = 0.0,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the events of TOPICS, one on a line, as they come."""
    paper = _Paper(count, as_json)
    ask(socket, lambda mesh: _print_events(mesh, topics, paper, timeout), wait)
    if paper.left:
        raise MaculaError(f"{paper.left} of {count} events did not come within {timeout or 0:g} s")


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


async def _print_events(
    mesh: Mesh, topics: list[str], paper: _Paper, limit_s: float | None
) -> None:
    """Print events until there are enough, or the time is over."""
    async with mesh.subscribe(*topics) as events:
        await mesh.ping()
        tell(f"subscribed to {', '.join(topics)} at {mesh.node_name}")
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
            "payload": event.payload,
        }
    )
