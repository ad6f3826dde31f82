"""What ``macula loadtest`` shows in a terminal: how a run is doing, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from maculaos.loadtest.report import verdict_of, written_time

if TYPE_CHECKING:
    from rich.console import RenderableType

    from maculaos.loadtest.latencies import Latencies
    from maculaos.loadtest.outcome import Outcome
    from maculaos.loadtest.rehearsal import Rehearsal
    from maculaos.loadtest.run import Run

_BAR: Final = 32
_SHARES: Final = (0.5, 0.9, 0.99, 0.999)


def progress(run: Run | Rehearsal) -> RenderableType:
    """How ``run`` is doing now; three lines."""
    duration_s = run.load.scenario.duration_s
    now_s = min(run.now_s, duration_s)
    bar = Table.grid(padding=(0, 1))
    done = ProgressBar(total=duration_s, completed=now_s, width=_BAR)
    bar.add_row(f"{run.phase.value:<8}", done, f"{now_s:.1f} of {duration_s:g} s")
    # The last part of the run that is complete.
    timeline = run.load.timeline
    last = timeline.seen(run.now_s - timeline.slot_s)
    checker = run.load.checker
    rates = Text(
        f"{last.published / timeline.slot_s:,.0f} published/s, "
        f"{last.delivered.count / timeline.slot_s:,.0f} delivered/s, "
        f"p50 {written_time(last.delivered.percentile_us(0.5))}, "
        f"p99 {written_time(last.delivered.percentile_us(0.99))}"
    )
    sums = f"{checker.published:,} published, {checker.delivered:,} delivered so far"
    broken = ", ".join(map(str, run.afflictions))
    return Group(bar, rates, Text(sums + (f"; now: {broken}" if broken else "")))


def summary(outcome: Outcome) -> RenderableType:
    """The figures of a run that is over."""
    counts = outcome.counts
    facts = (
        ("published", f"{outcome.published_per_s:,.0f}/s", f"{counts.published:,}"),
        ("delivered", f"{outcome.delivered_per_s:,.0f}/s", f"{counts.delivered:,}"),
        ("refused", "", f"{counts.refused:,}"),
        ("lost", "", f"{counts.lost:,}"),
        ("of those, while away", "", f"{counts.away:,}"),
        ("twice", "", f"{counts.duplicates:,}"),
        ("out of order", "", f"{counts.disordered:,}"),
    )
    flow = Table("", "rate", "in all", box=None, pad_edge=False)
    for each in facts:
        flow.add_row(*each)
    for column in flow.columns[1:]:
        column.justify = "right"
    blamed = [f"{name}: {count:,}" for name, count in outcome.losses.items() if count]
    told = [f"{name}: {count:,}" for name, count in outcome.errors.items()]
    is_good, said = verdict_of(outcome)
    parts: list[RenderableType] = [flow, Text(""), _times(outcome), Text("")]
    parts += [Text(f"losses  {each}") for each in blamed]
    parts += [Text(f"errors  {each}") for each in told]
    return Group(*parts, Text(said, style="green" if is_good else "bold red"))


def _times(outcome: Outcome) -> Table:
    heads = [f"p{100 * share:g}" for share in _SHARES]
    table = Table("", *heads, "max", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    table.add_row("latency", *_row(outcome.latencies))
    table.add_row("of that late at the publisher", *_row(outcome.lag), style="dim")
    return table


def _row(of: Latencies) -> list[str]:
    return [
        *(written_time(of.percentile_us(share)) for share in _SHARES),
        written_time(of.highest_us),
    ]
