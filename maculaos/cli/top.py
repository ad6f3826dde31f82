"""``macula top``: a live view of one node: its links, its rates, its queues."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from maculaos.cli.mesh import JsonOption, SocketOption, ask
from maculaos.cli.overview import CALLS, EVENTS, Overview, Sample, between
from maculaos.client import CallFailed, NodeUnreachable
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import RenderableType

    from maculaos.client import Mesh
    from maculaos.errors import MaculaError
    from maculaos.host.clock import Clock

# More rows are no help to people; --json has all of them.
_LINKS_MAX: Final = 30
_QUEUES_MAX: Final = 10
_PIPE_WIDTH: Final = 160


class Screen(Protocol):
    """Where looks at a node are shown."""

    def show(self, name: str, now: Overview) -> None:
        """Show one look at the node called ``name``."""
        ...

    def tell_gone(self, why: MaculaError) -> None:
        """The node is gone, or hangs; raises ``why`` where that ends it all."""
        ...


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(top)


def top(
    socket: SocketOption = None,
    interval: Annotated[
        float, typer.Option("--interval", "-i", min=0.1, max=3600, help="Seconds between looks.")
    ] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Show one interval, and end.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch links, rates and queues of the node until Ctrl-C. JSON: one line for each look."""
    clock = SystemClock()
    with _screen(once=once, as_json=as_json) as screen:
        while not _watch(socket, screen, clock, interval, once=once):
            clock.sleep(interval)


def view(name: str, now: Overview) -> RenderableType:
    """One look, for people."""
    health = ", ".join(f"{count} {each}" for each, count in now.members.items() if count)
    up = timedelta(seconds=int(now.uptime_s))
    head = Text.assemble(
        (_printable(name), "bold"),
        f"  up {up}   members {health or 'none'}   links {now.sums['links']}   "
        f"clients {now.sums['clients']}   subscriptions {now.sums['subscriptions']}   "
        f"methods {now.sums['methods']}   calls waiting {now.sums['pending_calls']}",
    )
    parts: list[RenderableType] = [head, Text(""), _rates(now), Text(""), _links(now)]
    if now.queues:
        parts += [Text(""), _queues(now)]
    return Group(*parts)


def _watch(
    socket: Path | None, screen: Screen, clock: Clock, interval_s: float, *, once: bool
) -> bool:
    """Look at the node until it is gone or hangs; whether that was all that was wished."""

    async def look(mesh: Mesh) -> None:
        before = Sample(clock.monotonic(), await mesh.stats())
        while True:
            await clock.wait(interval_s)
            after = Sample(clock.monotonic(), await mesh.stats())
            screen.show(mesh.node_name, between(before, after))
            before = after
            if once:
                return

    try:
        ask(socket, look)
    except (NodeUnreachable, CallFailed) as gone:
        screen.tell_gone(gone)
    return once


@contextmanager
def _screen(*, once: bool, as_json: bool) -> Iterator[Screen]:
    console = Console()
    if as_json:
        yield _Lines()
    elif once or not console.is_terminal:
        yield _Pages(console if console.is_terminal else Console(width=_PIPE_WIDTH))
    else:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield _Window(live)


class _Window:
    """The terminal, for as long as somebody looks."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._was_up = False

    def show(self, name: str, now: Overview) -> None:
        self._was_up = True
        self._live.update(view(name, now), refresh=True)

    def tell_gone(self, why: MaculaError) -> None:
        if not self._was_up:
            raise why
        self._live.update(Text(f"{why}; looking for it again", style="yellow"), refresh=True)


class _Pages:
    """One view below the other."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def show(self, name: str, now: Overview) -> None:
        self._console.print(view(name, now), "")

    def tell_gone(self, why: MaculaError) -> None:
        raise why


class _Lines:
    """One line of JSON for each look."""

    def show(self, name: str, now: Overview) -> None:
        typer.echo(json.dumps({"name": name, **now.to_dict()}))

    def tell_gone(self, why: MaculaError) -> None:
        raise why


def _rates(now: Overview) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for title, names in (("events/s", EVENTS), ("calls/s", CALLS)):
        cells = [
            f"{name.partition('_')[2]} [b]{_count(now.rates[name])}[/b]"
            for name in names
            if name in now.rates
        ]
        table.add_row(title, *cells)
    others = [f"{escape(name)} [b]{_count(rate)}[/b]" for name, rate in now.others.items()]
    if others:
        table.add_row("other/s", *others)
    return table


def _links(now: Overview) -> Table:
    table = Table("link", "remote", "", "rtt", "out/s", "in/s", "queued", "datagram", box=None)
    for number in range(3, 8):
        table.columns[number].justify = "right"
    for row in now.links[:_LINKS_MAX]:
        table.add_row(
            escape(_printable(row.name)),
            escape(_printable(row.remote)),
            "dialled" if row.is_outbound else "",
            f"{row.rtt_ms:.2f} ms",
            f"{_bytes(row.out_per_s)}",
            f"{_bytes(row.in_per_s)}",
            _bytes(row.queued_bytes),
            f"{row.datagram_size}",
        )
    if len(now.links) > _LINKS_MAX:
        table.add_row(f"and {len(now.links) - _LINKS_MAX} more")
    return table


def _queues(now: Overview) -> Table:
    table = Table("queue of", "client", "waiting", "dropped", "credit", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in now.queues[:_QUEUES_MAX]:
        pattern = row.pattern if not row.group else f"{row.pattern} ({row.group})"
        sums = (row.client, row.waiting, row.dropped, row.credit)
        table.add_row(escape(_printable(pattern)), *(f"{each:,}" for each in sums))
    if len(now.queues) > _QUEUES_MAX:
        table.add_row(f"and {len(now.queues) - _QUEUES_MAX} more")
    return table


def _count(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _printable(text: str) -> str:
    """A name that another machine said must not steer a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)
