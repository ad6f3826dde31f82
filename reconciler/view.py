"""The live view: how things stand, on one screen of a terminal.

``render`` is pure: a snapshot, the time and some hints go in, something that rich can draw comes
out. Words come with every colour. Who refreshes it, and how often, is not known here.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reconciler.status import Word, short_revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from reconciler.activity import Activity, Snapshot
    from reconciler.status import ItemStatus, Status

# What takes longer than this is shown with a spinner.
PATIENCE_S: Final = 1.0
EVENTS_SHOWN: Final = 6
PROBLEMS_SHOWN: Final = 12

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LOOKS: Final = {
    Word.READY: ("●", "ready", "green"),
    Word.RECONCILING: ("◐", "working", "yellow"),
    Word.STALLED: ("✖", "stalled", "red"),
}


def render(snapshot: Snapshot, now: float, hints: Sequence[str] = ()) -> RenderableType:
    """The whole view at ``now``, in seconds since the epoch; ``hints`` stand at its foot."""
    status, activity = snapshot.status, snapshot.activity
    parts: list[RenderableType] = [_head(status, activity, now), _items(status.items, now)]
    parts += _section("under way", _under_way(activity, now))
    parts += _section("problems", _problems(status))
    parts += _section("events", _events(activity))
    parts += [Padding(Text("\n").join(Text(hint, style="cyan") for hint in hints), (1, 1, 0, 1))]
    return Panel(
        Group(*parts),
        title=_title(status),
        title_align="left",
        border_style=_LOOKS[_word(status)][2],
        box=box.ROUNDED,
    )


def ago(seconds: float) -> str:
    """A duration as people say it: ``3 s``, ``5 min``, ``2 h``, ``4 d``."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"


def _title(status: Status) -> Text:
    sign, word, style = _LOOKS[_word(status)]
    realm = f"realm {status.realm}" if status.realm else "no realm yet"
    return Text.assemble(" MaculaOS ", ("· ", "dim"), f"{realm} ", (f"{sign} {word} ", style))


def _word(status: Status) -> Word:
    words = {condition.word for condition in status.conditions() if condition.holds}
    return next((w for w in (Word.STALLED, Word.READY) if w in words), Word.RECONCILING)


def _head(status: Status, activity: Activity, now: float) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("repository", Text(f"{status.url} ({status.branch})"))
    grid.add_row("revision", _revision(status, activity))
    if status.reconciled_at is not None:
        took = f", took {status.reconcile_s:.2f} s" if status.reconcile_s is not None else ""
        grid.add_row("reconciled", Text(f"{ago(now - status.reconciled_at)} ago{took}"))
    if status.fetch.error:
        grid.add_row("fetch", Text(status.fetch.error, style="red"))
    if activity.notice:
        grid.add_row("notice", Text(activity.notice, style="yellow"))
    return Padding(grid, (0, 1))


def _revision(status: Status, activity: Activity) -> Text:
    revisions = status.revisions
    text = Text(short_revision(revisions.tip or revisions.applied), style="bold")
    if activity.subject:
        text.append(f"  {activity.subject}", style="not bold")
    if activity.author:
        text.append(f"  ({activity.author})", style="not bold dim")
    if revisions.refused is not None:
        goes_on = short_revision(revisions.applied)
        text.append(f"  refused, {goes_on} goes on running", style="not bold red")
    return text


def _items(items: Iterable[ItemStatus], now: float) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1))
    for column in ("name", "health", "state", "address", "members", "pid", "restarts", "since"):
        is_number = column in {"members", "pid", "restarts", "since"}
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    table.add_column("", ratio=1, overflow="ellipsis", no_wrap=True)
    for item in items:
        table.add_row(*_row(item, now))
    if not table.row_count:
        return Padding(Text("nothing is wanted, and nothing runs", style="dim"), (1, 1))
    return table


def _row(item: ItemStatus, now: float) -> tuple[Text, ...]:
    sign, word, style = _LOOKS[item.word]
    members = f"{item.members.alive}/{item.members.known}" if item.members else "-"
    since = ago(now - item.since) if item.since is not None and item.pid is not None else "-"
    is_whole = item.members is None or item.members.alive == item.members.known
    return (
        Text.assemble((f"{item.kind} ", "dim"), (item.name, "bold")),
        Text(f"{sign} {word}", style=style),
        Text(item.state),
        Text(item.address or "-"),
        Text(members, style="" if is_whole else "yellow"),
        Text(str(item.pid) if item.pid is not None else "-"),
        Text(str(item.restarts), style="yellow" if item.restarts else "dim"),
        Text(since),
        Text(item.reason, style="dim"),
    )


def _section(title: str, lines: list[Text]) -> list[RenderableType]:
    if not lines:
        return []
    return [Padding(Group(Text(title, style="bold"), *lines), (1, 1, 0, 1))]


def _under_way(activity: Activity, now: float) -> list[Text]:
    frame = _SPINNER[int(now * 8) % len(_SPINNER)]
    return [
        Text.assemble((f"{frame} ", "yellow"), one.text, (f"  {ago(now - one.at)}", "dim"))
        for one in activity.under_way
        if now - one.at > PATIENCE_S
    ]


def _problems(status: Status) -> list[Text]:
    lines = [Text(line, style="red") for line in status.problems[:PROBLEMS_SHOWN]]
    left_out = len(status.problems) - len(lines)
    return [*lines, Text(f"... and {left_out} more", style="red")] if left_out > 0 else lines


def _events(activity: Activity) -> list[Text]:
    return [
        Text.assemble((f"{_clock(one.at)}  ", "dim"), one.text, overflow="ellipsis", no_wrap=True)
        for one in activity.events[-EVENTS_SHOWN:]
    ]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
