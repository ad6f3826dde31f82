"""The live view: how things stand, on one screen of a terminal.

``render`` is pure: a snapshot, the time and some hints go in, something that rich can draw comes
out. Words come with every colour. On a narrow terminal columns are left out, on a low one events
and what is ready anyway, so that the hints stay. Who refreshes it, and how often, is not known
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reconciler.activity import Snapshot
from reconciler.conditions import Word
from reconciler.status import ItemStatus, short_revision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from reconciler.activity import Activity
    from reconciler.status import Status

# What takes longer than this is shown with a spinner.
PATIENCE_S: Final = 1.0
EVENTS_SHOWN: Final = 6
PROBLEMS_SHOWN: Final = 12
# However low the terminal.
FEWEST_ITEMS: Final = 3

_COLUMNS: Final = (
    "name", "health", "state", "address", "members", "pid", "restarts", "since",
)  # fmt: skip
_NUMBERS: Final = frozenset({"members", "pid", "restarts", "since"})
# Left out in this order where the terminal is narrow; what is left says who, how and where.
_LESSER: Final = ("restarts", "since", "state", "pid")
_LEAST_REASON: Final = 12

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_LOOKS: Final = {
    Word.READY: ("●", "ready", "green"),
    Word.RECONCILING: ("◐", "working", "yellow"),
    Word.STALLED: ("✖", "stalled", "red"),
}


def render(
    snapshot: Snapshot, now: float, hints: Sequence[str] = (), lines: int | None = None
) -> RenderableType:
    """The whole view at ``now``, in seconds since the epoch; ``hints`` stand at its foot.

    With ``lines`` it takes no more of them, as far as it can, and only names the runtime; without,
    it also says why it is that one.
    """
    return _View(snapshot, now, tuple(hints), lines)


@dataclass(frozen=True, slots=True)
class _View:
    """Drawn when the size of the terminal is known."""

    snapshot: Snapshot
    now: float
    hints: tuple[str, ...]
    lines: int | None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        events, items = EVENTS_SHOWN, len(self.snapshot.status.items)
        surplus = self._surplus(self._panel(events, items), console, options)
        if surplus > 0:
            # Without any event their title goes too.
            events = EVENTS_SHOWN - surplus if surplus < EVENTS_SHOWN else 0
            surplus = self._surplus(self._panel(events, items), console, options)
        if surplus > 0:
            items = max(items - surplus - 1, FEWEST_ITEMS)
        yield self._panel(events, items)

    def _surplus(self, panel: Panel, console: Console, options: ConsoleOptions) -> int:
        """How many lines ``panel`` has too many."""
        if self.lines is None:
            return 0
        return len(console.render_lines(panel, options.update(height=None))) - self.lines

    def _panel(self, events: int, items: int) -> Panel:
        status, activity = self.snapshot.status, self.snapshot.activity
        parts: list[RenderableType] = [_head(status, activity, self.now, self.lines is None)]
        parts += [_Items(_telling(status.items, items), len(status.items), self.now)]
        parts += _section("under way", _under_way(activity, self.now))
        parts += _section("problems", _problems(status))
        untold = [Text(line, style="yellow") for line in status.untold]
        parts += _section("not told", untold)
        parts += _section("events", _events(activity, events))
        hints = Text("\n").join(Text(hint, style="cyan") for hint in self.hints)
        parts += [Padding(hints, (1, 1, 0, 1))] if self.hints else []
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
    # Last, so that it is the first to go where the terminal is narrow.
    runtime = (f"· {status.runtime} ", "dim")
    said = (" MaculaOS ", ("· ", "dim"), f"{realm} ", (f"{sign} {word} ", style), runtime)
    return Text.assemble(*said)


def _word(status: Status) -> Word:
    words = {condition.word for condition in status.claims() if condition.holds}
    return next((w for w in (Word.STALLED, Word.READY) if w in words), Word.RECONCILING)


def _head(status: Status, activity: Activity, now: float, has_room: bool) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("repository", Text(f"{status.url} ({status.branch})"))
    grid.add_row("revision", _revision(status, activity))
    if status.reconciled_at is not None:
        took = f", took {status.reconcile_s:.2f} s" if status.reconcile_s is not None else ""
        grid.add_row("reconciled", Text(f"{ago(now - status.reconciled_at)} ago{took}"))
    for word, said in status.withheld():
        grid.add_row(word, Text(said, style="yellow"))
    if has_room and status.runtime_why:
        grid.add_row("runtime", Text(status.runtime_why))
    if status.front is not None:
        grid.add_row("front", Text(status.front.line(), style="red" if status.front.told else ""))
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
    elif revisions.missing and revisions.tip == revisions.applied:
        text.append("  partly applied", style="not bold yellow")
    return text


def _telling(items: Sequence[ItemStatus], most: int) -> tuple[ItemStatus, ...]:
    """At most that many, in their order: those that are not ready before those that are."""
    kept = {id(item) for item in sorted(items, key=lambda item: item.ready)[:most]}
    return tuple(item for item in items if id(item) in kept)


@dataclass(frozen=True, slots=True)
class _Items:
    """A line each, in the columns that fit; ``total`` says how many there are."""

    items: tuple[ItemStatus, ...]
    total: int
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.items:
            yield Padding(Text("nothing is wanted, and nothing runs", style="dim"), (1, 1))
            return
        rows = [_row(item, self.now) for item in self.items]
        columns = _fitting(rows, options.max_width)
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1))
        for column in columns:
            justify = "right" if column in _NUMBERS else "left"
            table.add_column(column, justify=justify, no_wrap=True)  # type: ignore[arg-type]  # two of rich's words
        table.add_column("", ratio=1, overflow="ellipsis", no_wrap=True)
        for row in rows:
            table.add_row(*(row[column] for column in columns), row["reason"])
        yield table
        if self.total > len(self.items):
            left_out = f"... and {self.total - len(self.items)} more"
            yield Padding(Text(left_out, style="dim"), (0, 1))


def _fitting(rows: Sequence[Mapping[str, Text]], width: int) -> tuple[str, ...]:
    """The columns that leave some room for the reason."""
    columns = list(_COLUMNS)
    # Two blanks between columns, and two around the whole.
    widths = {c: 2 + max(len(c), *(row[c].cell_len for row in rows)) for c in columns}
    for lesser in _LESSER:
        if 2 + sum(widths[column] for column in columns) + _LEAST_REASON <= width:
            break
        columns.remove(lesser)
    return tuple(columns)


def _row(item: ItemStatus, now: float) -> dict[str, Text]:
    sign, word, style = _LOOKS[item.word]
    members = f"{item.members.alive}/{item.members.known}" if item.members else "-"
    since = ago(now - item.since) if item.since is not None and item.pid is not None else "-"
    is_whole = item.members is None or item.members.alive == item.members.known
    return {
        "name": Text.assemble((f"{item.kind} ", "dim"), (item.name, "bold")),
        "health": Text(f"{sign} {word}", style=style),
        "state": Text(item.state),
        "address": Text(item.address or "-"),
        "members": Text(members, style="" if is_whole else "yellow"),
        "pid": Text(str(item.pid) if item.pid is not None else "-"),
        "restarts": Text(str(item.restarts), style="yellow" if item.restarts else "dim"),
        "since": Text(since),
        "reason": Text(item.reason, style="dim"),
    }


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


def _events(activity: Activity, most: int) -> list[Text]:
    return [
        Text.assemble((f"{_clock(one.at)}  ", "dim"), one.text, overflow="ellipsis", no_wrap=True)
        for one in activity.events[len(activity.events) - min(most, len(activity.events)) :]
    ]


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")
