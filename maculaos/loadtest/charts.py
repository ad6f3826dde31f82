"""The charts of an outcome: how long things took, how much came, and what was lost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from maculaos.loadtest.latencies import SHARES
from maculaos.loadtest.plot import Axis, Plot
from maculaos.loadtest.scale import Scale, linear, logarithmic, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.loadtest.latencies import Latencies
    from maculaos.loadtest.outcome import Outcome
    from maculaos.loadtest.timeline import Slot

# So many bars for each power of ten of the distribution.
_BARS_PER_DECADE: Final = 12
# The percentiles that are written; what lies right of the last one is its own share of events.
_NINES: Final = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_POINTS: Final = 200


def charts_of(outcome: Outcome) -> list[str]:
    """Every chart that has something to show, as SVG."""
    charts = [throughput(outcome)]
    if outcome.latencies.count:
        charts += [latency_over_time(outcome), percentiles(outcome), distribution(outcome)]
    if outcome.scenario.faults or outcome.counts.lost:
        charts.append(losses(outcome))
    return charts


def throughput(outcome: Outcome) -> str:
    """Published and delivered per second, over time."""
    delivered = _series(outcome, lambda each: each.delivered.count)
    published = _series(outcome, lambda each: each.published)
    refused = _series(outcome, lambda each: each.refused)
    highest = max((rate for _, rate in (*delivered, *published)), default=1.0)
    plot = Plot("Throughput", _time(outcome), Axis(linear(highest), "events per second"))
    _shade(plot, outcome)
    plot.line(delivered, "delivered", "c2", is_area=True)
    plot.line(published, "published", "c1")
    if any(rate for _, rate in refused):
        plot.line(refused, "refused", "c3")
    return plot.svg()


def latency_over_time(outcome: Outcome) -> str:
    """Percentiles of what was delivered in each part of the run."""
    came = [
        ((number + 0.5) * outcome.slot_s, each.delivered)
        for number, each in enumerate(outcome.slots)
        if each.delivered.count
    ]
    plot = Plot("Latency over time", _time(outcome), _milliseconds(outcome.latencies))
    _shade(plot, outcome)
    measures: tuple[tuple[str, str, Callable[[Latencies], int]], ...] = (
        ("max", "c3", lambda each: each.highest_us),
        ("p99", "c4", lambda each: each.percentile_us(0.99)),
        ("p50", "c2", lambda each: each.percentile_us(0.5)),
    )
    for name, colour, measure in measures:
        plot.line([(at_s, measure(each) / 1000) for at_s, each in came], name, colour)
    return plot.svg()


def percentiles(outcome: Outcome) -> str:
    """How long which share took, the slowest ones drawn apart."""
    total = outcome.latencies
    # The share that was slower, of which there is at least one.
    last = max(1 / total.count, 1e-6) if total.count > 1 else 0.5
    marks = tuple((_rank(share), f"{100 * share:g}%") for share in _NINES if 1 - share >= last)
    across = Axis(Scale(0.0, -math.log10(last)), "share of deliveries", marks)
    plot = Plot("Latency by percentile", across, _milliseconds(total))
    ranks = [-math.log10(last) * number / _POINTS for number in range(_POINTS + 1)]
    points = [(rank, total.percentile_us(1 - 10**-rank) / 1000) for rank in ranks]
    plot.line(points, "latency", "c2", is_area=True)
    return plot.svg()


def distribution(outcome: Outcome) -> str:
    """How many took how long."""
    total = outcome.latencies
    scale = _milliseconds(total).scale
    counts: dict[int, int] = {}
    for low_us, high_us, count in total.steps():
        middle_ms = max((low_us + high_us) / 2000, scale.low)
        bar = math.floor(_BARS_PER_DECADE * math.log10(middle_ms))
        counts[bar] = counts.get(bar, 0) + count
    across = Axis(scale, "latency (ms)")
    plot = Plot("Latency distribution", across, Axis(linear(max(counts.values())), "deliveries"))
    edge: Callable[[int], float] = lambda bar: 10 ** (bar / _BARS_PER_DECADE)  # noqa: E731  # short
    plot.bars(
        [
            (edge(bar), edge(bar + 1), count, f"{edge(bar):.3g} to {edge(bar + 1):.3g} ms: {count}")
            for bar, count in sorted(counts.items())
        ],
        "c2",
    )
    for share in (SHARES[0], SHARES[2]):
        value_ms = total.percentile_us(share) / 1000
        plot.flag(value_ms, f"p{100 * share:g} {value_ms:.3g} ms")
    return plot.svg()


def losses(outcome: Outcome) -> str:
    """What each fault is blamed for."""
    named = list(outcome.losses.items())
    marks = tuple(
        (number + 0.5, f"{name}: {written(count)}") for number, (name, count) in enumerate(named)
    )
    highest = max(max(count for _, count in named), 1)
    across = Axis(Scale(0.0, float(len(named))), "blamed", marks)
    plot = Plot("Losses by fault", across, Axis(linear(highest), "deliveries lost"))
    bars = [
        (number + 0.2, number + 0.8, count, f"{name}: {count}")
        for number, (name, count) in enumerate(named)
    ]
    plot.bars(bars, "c3")
    return plot.svg()


def _time(outcome: Outcome) -> Axis:
    return Axis(Scale(0.0, max(1.0, _end_s(outcome))), "seconds since the start")


def _end_s(outcome: Outcome) -> float:
    """Where the axis of time ends; nothing is drawn after it."""
    return max(outcome.scenario.duration_s, len(outcome.slots) * outcome.slot_s)


def _milliseconds(total: Latencies) -> Axis:
    return Axis(logarithmic(total.lowest_us / 1000 or 0.001, total.highest_us / 1000), "ms")


def _series(outcome: Outcome, count: Callable[[Slot], int]) -> list[tuple[float, float]]:
    """What was counted, per second, in the middle of each part."""
    slot_s = outcome.slot_s
    return [
        ((number + 0.5) * slot_s, count(each) / slot_s) for number, each in enumerate(outcome.slots)
    ]


def _shade(plot: Plot, outcome: Outcome) -> None:
    for fault in outcome.scenario.faults:
        until_s = min(fault.until_s, _end_s(outcome))
        plot.band(fault.at_s, until_s, f"{fault.kind.value} {fault.node}")


def _rank(share: float) -> float:
    return -math.log10(1 - share)
