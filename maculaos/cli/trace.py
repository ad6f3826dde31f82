"""``macula trace``: the nodes that one message passes on its way to each subscriber, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from maculaos.cli.mesh import JsonOption, SocketOption, TimeoutOption, ask, print_json
from maculaos.cli.route import join

if TYPE_CHECKING:
    from maculaos.cli.route import Step

_PIPE_WIDTH = 200


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(trace)


def trace(
    topic: Annotated[str, typer.Argument(help="The topic, such as room.temperature.")],
    timeout: TimeoutOption = 5.0,
    socket: SocketOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the way of one message to everyone who subscribes to TOPIC; nobody gets to see it."""
    routes = ask(socket, lambda mesh: mesh.trace(topic, timeout_s=timeout))
    if as_json:
        print_json(routes)
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    for start in join(routes):
        console.print(_drawn(start), highlight=False)
    typer.echo(_note(len(routes), topic), err=True)


def _drawn(start: Step) -> Tree:
    root = Tree(_said(start, start, start))
    waiting = [(start, root)]
    while waiting:
        step, branch = waiting.pop()
        waiting += [(onward, branch.add(_said(onward, step, start))) for onward in step.onward]
    return root


def _said(step: Step, before: Step, start: Step) -> str:
    """One node: when, since the start and since the node before."""
    name = escape("".join(each if each.isprintable() else "?" for each in step.node))
    mark = "  [green]subscriber[/green]" if step.is_end else ""
    if step is start:
        return f"[b]{name}[/b]{mark}"
    since_start, since_before = ((step.at_us - each.at_us) / 1000 for each in (start, before))
    return f"[b]{name}[/b]  {since_start:+.3f} ms  [dim]({since_before:+.3f} ms)[/dim]{mark}"


def _note(count: int, topic: str) -> str:
    if not count:
        return f"nobody subscribes to {topic}"
    nodes = "1 node has" if count == 1 else f"{count} nodes have"
    return (
        f"{nodes} subscribers of {topic}. Times are since the start (and since the node before), "
        "each by its own node's clock: what clocks differ by, the times do, too."
    )
