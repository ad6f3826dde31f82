"""The report of a load test: one HTML file that needs nothing beside it, charts included."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from maculaos.loadtest.charts import charts_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.loadtest.latencies import Latencies
    from maculaos.loadtest.outcome import Outcome

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2733; --soft: #5b6b7b; --line: #d9e0e7;
  --paper: #ffffff; --card: #f5f7fa; --c1: #64748b; --c2: #2563eb; --c3: #dc2626; --c4: #d97706;
  --band: #dc262614; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #93a1b0; --line: #2d3742;
  --paper: #11161c; --card: #1a2129; --c1: #94a3b8; --c2: #60a5fa; --c3: #f87171; --c4: #fbbf24;
  --band: #f8717122; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1640px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.1rem; }
p { margin: .3rem 0; color: var(--soft); }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.verdict { display: inline-block; margin: .8rem 0 0; padding: .25rem .8rem; border-radius: 1rem;
  background: var(--card); font-weight: 600; }
.good { color: #16a34a; } .bad { color: var(--c3); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: .8rem;
  margin-top: 1.2rem; }
.card { padding: .8rem 1rem; border-radius: .6rem; background: var(--card); }
.card b { display: block; font-size: 1.45rem; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr));
  gap: 1.2rem; margin-top: 1.6rem; }
.chart { padding: .6rem; border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { padding: .22rem 1.4rem .22rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child { color: var(--soft); }
.tables { display: flex; flex-wrap: wrap; gap: 0 4rem; }
.plot { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
.plot .title { font-size: 14px; font-weight: 600; fill: var(--ink); }
.plot .label, .plot .unit, .plot .note { fill: var(--soft); font-size: 11px; }
.plot .grid { stroke: var(--line); } .plot .axis, .plot .tick { stroke: var(--soft); }
.plot .band { fill: var(--band); } .plot .flag { stroke: var(--c4); stroke-dasharray: 4 3; }
.plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.plot .area { opacity: .13; stroke: none; }
.plot .line.c1 { stroke: var(--c1); } .plot .line.c2 { stroke: var(--c2); }
.plot .line.c3 { stroke: var(--c3); } .plot .line.c4 { stroke: var(--c4); }
.plot .dot.c1, .plot .bar.c1, .plot .area.c1 { fill: var(--c1); }
.plot .dot.c2, .plot .bar.c2, .plot .area.c2 { fill: var(--c2); }
.plot .dot.c3, .plot .bar.c3, .plot .area.c3 { fill: var(--c3); }
.plot .dot.c4, .plot .bar.c4, .plot .area.c4 { fill: var(--c4); }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a run can be done again, and where it was done."""

    command: str
    # UTC, written for people.
    moment: str
    versions: Mapping[str, str]
    machine: str


def report_of(outcome: Outcome, provenance: Provenance) -> str:
    """The whole file."""
    charts = "".join(f'<div class="chart">{each}</div>' for each in charts_of(outcome))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Load test, {escape(provenance.moment)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Load test of a mesh</h1><p>{escape(outcome.scenario.in_words())}</p>"
        f"{_verdict(outcome)}{_cards(outcome)}"
        f'<div class="charts">{charts}</div>'
        f'<div class="tables">{_tables(outcome, provenance)}</div>'
        f"<h2>Again</h2><p><code>{escape(provenance.command)}</code></p></body></html>\n"
    )


def verdict_of(outcome: Outcome) -> tuple[bool, str]:
    """Whether everything came once and in order, and that in words."""
    counts = outcome.counts
    wrong = {
        "lost while the subscriber was away": counts.away,
        "lost": counts.lost - counts.away,
        "twice": counts.duplicates,
        "out of order": counts.disordered,
        "foreign": counts.foreign,
    }
    said = ", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
    if not said:
        return True, "Everything that was taken came to everyone, once and in order."
    broken = "" if outcome.keeps_its_word else " Acknowledged events were lost."
    return False, f"Of {counts.expected:,} deliveries: {said}.{broken}"


def _verdict(outcome: Outcome) -> str:
    is_good, said = verdict_of(outcome)
    return f'<div class="verdict {"good" if is_good else "bad"}">{escape(said)}</div>'


def _cards(outcome: Outcome) -> str:
    told = outcome.latencies
    cards = (
        (f"{outcome.published_per_s:,.0f}/s", "published"),
        (f"{outcome.delivered_per_s:,.0f}/s", "delivered, in all"),
        (written_time(told.percentile_us(0.5)), "latency, p50"),
        (written_time(told.percentile_us(0.99)), "latency, p99"),
        (written_time(told.percentile_us(0.999)), "latency, p99.9"),
        (f"{outcome.counts.lost:,}", "lost"),
        (f"{outcome.counts.duplicates:,}", "came twice"),
        (f"{outcome.counts.disordered:,}", "out of order"),
    )
    drawn = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in cards
    )
    return f'<div class="cards">{drawn}</div>'


def _tables(outcome: Outcome, provenance: Provenance) -> str:
    counts = outcome.counts
    deliveries = {
        "published": f"{counts.published:,}",
        "refused by the mesh": f"{counts.refused:,}",
        "deliveries expected": f"{counts.expected:,}",
        "delivered": f"{counts.delivered:,}",
        "lost": f"{counts.lost:,}",
        "of those, while the subscriber was away": f"{counts.away:,}",
        "delivered though refused": f"{counts.refused_yet_delivered:,}",
        "connections lost": f"{outcome.connections_lost:,}",
    }
    where = {"when": provenance.moment, "machine": provenance.machine, **provenance.versions}
    tables = (
        _table("Latency, from the moment an event was due", _times(outcome.latencies)),
        _table("Of that, late at the publisher", _times(outcome.lag)),
        _table("Deliveries", deliveries.items()),
        _table("Losses by fault", ((k, f"{n:,}") for k, n in outcome.losses.items())),
        _table("Errors told to publishers", ((k, f"{n:,}") for k, n in outcome.errors.items())),
        _table("Made with", where.items()),
    )
    return "".join(tables)


def _times(of: Latencies) -> list[tuple[str, str]]:
    shares = (0.5, 0.9, 0.99, 0.999, 0.9999)
    rows = [(f"p{100 * share:g}", written_time(of.percentile_us(share))) for share in shares]
    ends = (("mean", written_time(of.mean_us)), ("max", written_time(of.highest_us)))
    return [("least", written_time(of.lowest_us)), *rows, *ends]


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows
    )
    return f"<section><h2>{escape(title)}</h2><table>{cells}</table></section>" if cells else ""


def written_time(time_us: float) -> str:
    """Microseconds as people write them."""
    return f"{time_us / 1000:,.3g} ms" if time_us < 1_000_000 else f"{time_us / 1_000_000:,.3g} s"
