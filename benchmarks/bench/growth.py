"""What messages cost as topics and peers become more: messages per second of the CPU, and memory.

Draws ``var/bench-growth.svg``. Nothing may be worse than linear: a message to a subscriber costs as
much among many as among few, within the bounds below.
"""

from __future__ import annotations

import asyncio
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pygal  # type: ignore[import-untyped]

from bench import sites
from bench.contest import Work, measure
from bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.contest import Result

# pygal leaves an import hook behind for plugins of its own, of a kind that Python warns of.
sys.meta_path[:] = [each for each in sys.meta_path if hasattr(each, "find_spec")]

TOPICS: Final = (1, 10, 100, 1000)
PEERS: Final = (1, 8, 24)
CHART: Final = Path("var/bench-growth.svg")
# Of the messages per second of the CPU among few, so many remain among many.
_REMAINS: Final = 0.5


def figures() -> Iterator[Figure]:
    """Ourselves only, once for each number of topics and of peers; raises ``PartFailed``."""
    by_topics = {n: _found(Work(role="publish", topics=n)) for n in TOPICS}
    by_peers = {n: _found(Work(role="publish", takers=n)) for n in PEERS}
    for what, found in (("topics", by_topics), ("peers", by_peers)):
        for number, result in found.items():
            name = f"{number} {what}"
            rate, size = (result.per_cpu_s,), (result.taker_mib,)
            yield Figure(name=f"{name}: messages, all their CPU", unit="/s of CPU", runs=rate)
            yield Figure(name=f"{name}: memory of a subscriber", unit="MiB", runs=size)
        few, many = min(found), max(found)
        yield Figure(
            name=f"messages per CPU, {many} {what} / {few}",
            unit="times",
            runs=(found[many].per_cpu_s / found[few].per_cpu_s,),
            at_least=_REMAINS,
        )
    _draw(by_topics, by_peers, CHART)


def _found(work: Work) -> Result:
    return asyncio.run(measure(sites.EMBEDDED, work))


def _draw(by_topics: dict[int, Result], by_peers: dict[int, Result], path: Path) -> None:
    chart = pygal.XY(
        title="Messages of 100 B per second of the CPU, and memory of a subscriber",
        x_title="topics, or subscribers",
        y_title="messages per second of CPU",
        secondary_range=(0, 2 * max(each.taker_mib for each in by_peers.values())),
        logarithmic=False,
        xrange=(0, 3),
        x_value_formatter=lambda exponent: f"{10**exponent:.0f}",
        x_labels=(0, 1, 2, 3),
        range=(0, max(each.per_cpu_s for each in (*by_topics.values(), *by_peers.values()))),
        legend_at_bottom=True,
        js=[],
        value_formatter=lambda value: f"{value:,.0f}",
    )
    for what, found in (("topics", by_topics), ("peers", by_peers)):
        chart.add(f"messages, by {what}", _points(found, "per_cpu_s"))
        chart.add(f"MiB, by {what}", _points(found, "taker_mib"), secondary=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(chart.render())


def _points(found: dict[int, Result], name: str) -> list[tuple[float, float]]:
    return [(math.log10(number), getattr(result, name)) for number, result in found.items()]
