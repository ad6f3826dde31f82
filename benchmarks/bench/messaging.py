"""Messages and calls beside those of others: the same work, in one run, in turn.

Each round lets every contender do the work once, in an order that turns from round to round; a
ratio is of two figures of one round. Whoever is not installed is named, and left out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from rich.console import Console

from bench import growth, sites
from bench.contest import Result, Work, measure
from bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bench.contest import Contender

OURS: Final = sites.EMBEDDED
# On their way at a time, where each message or call is answered: the same for all.
IN_FLIGHT: Final = 1000
CALLS: Final = 64
LARGE: Final = 16 * 1024

Rounds = dict[str, list[Result]]


def figures(runs: int) -> Iterator[Figure]:
    """Every figure of messaging."""
    _name_the_absent()
    once, rounds = "1 -> 1, 100 B, at most once", Work(role="publish")
    at_most_once = _rounds(rounds, sites.EVERY, runs)
    yield from _rates(once, at_most_once, {sites.NATS: 1.2, sites.GMQTT: 2.5})
    yield from _share(f"{once}: two daemons / embedded", at_most_once, sites.DAEMONS, 0.5)
    yield from _acknowledged(at_most_once, runs)
    some = (OURS, sites.NATS, sites.GMQTT, sites.ZENOH, sites.PLAIN)
    wide = _rounds(Work(role="publish", takers=8), some, runs)
    yield from _rates("1 -> 8, 100 B, in total", wide, {sites.NATS: 1.0})
    large = _rounds(Work(role="publish", size=LARGE), some, runs)
    yield from _rates("1 -> 1, 16 KiB", large, {sites.NATS: 0.8})
    yield from _calls(runs)
    yield from growth.figures()


def _acknowledged(at_most_once: Rounds, runs: int) -> Iterator[Figure]:
    work = Work(role="acknowledge", in_flight=IN_FLIGHT)
    found = _rounds(work, (OURS, sites.DAEMONS, sites.GMQTT, sites.PAHO), runs)
    name = "1 -> 1, 100 B, at least once"
    yield from _rates(name, found, {sites.GMQTT: 3.0})
    half = zip(found[OURS.name], at_most_once[OURS.name], strict=True)
    parts = tuple(this.rate / that.rate for this, that in half)
    yield Figure(name=f"{name} / at most once", unit="times", runs=parts, at_least=0.5)


def _calls(runs: int) -> Iterator[Figure]:
    callers = (OURS, sites.DAEMONS, sites.NATS, sites.ZENOH, sites.PLAIN)
    alone = _rounds(Work(role="call"), callers, runs)
    bounds = {sites.NATS: 1.0, sites.ZENOH: 1.0}
    for part, of in (("p50", _p50_us), ("p99", _p99_us)):
        name = f"calls one at a time, {part}"
        for caller, found in alone.items():
            yield Figure(name=f"{name}: {caller}", unit="us", runs=tuple(map(of, found)))
        for other, bound in bounds.items():
            yield from _ratio(name, alone, other, of, at_most=bound)
    many = _rounds(Work(role="call", in_flight=CALLS), callers, runs)
    yield from _rates(f"calls, {CALLS} in flight", many, {sites.NATS: 1.0})


def _rounds(work: Work, contenders: Sequence[Contender], runs: int) -> Rounds:
    """What each of them that is here found, round by round."""
    here = [each for each in contenders if not each.missing()]
    found: Rounds = {each.name: [] for each in here}
    for number in range(runs):
        for each in here if number % 2 == 0 else reversed(here):
            found[each.name].append(asyncio.run(measure(each, work)))
    return found


def _rates(name: str, found: Rounds, bounds: Mapping[Contender, float]) -> Iterator[Figure]:
    """The rate of each, per second of the clock and of the CPU, and our ratio to some."""
    for contender, results in found.items():
        rates = tuple(each.rate for each in results)
        yield Figure(name=f"{name}: {contender}", unit="/s", runs=rates)
        lost = tuple(100 * (1 - each.done / each.sent) for each in results)
        if any(lost):
            yield Figure(name=f"{name}: {contender}, lost", unit="%", runs=lost)
    for contender, results in found.items():
        cpu = tuple(each.per_cpu_s for each in results)
        yield Figure(name=f"{name}: {contender}, all its CPU", unit="/s of CPU", runs=cpu)
    for other, bound in bounds.items():
        yield from _ratio(name, found, other, _rate, at_least=bound)


def _ratio(
    name: str,
    found: Rounds,
    other: Contender,
    of: Callable[[Result], float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Iterator[Figure]:
    """Ours to that of ``other``, if it is here."""
    if other.name in found:
        pairs = zip(found[OURS.name], found[other.name], strict=True)
        yield Figure(
            name=f"{name}: {OURS.name} / {other.name}",
            unit="times",
            runs=tuple(of(ours) / of(theirs) for ours, theirs in pairs),
            at_least=at_least,
            at_most=at_most,
        )


def _share(name: str, found: Rounds, part: Contender, at_least: float) -> Iterator[Figure]:
    pairs = zip(found[part.name], found[OURS.name], strict=True)
    shares = tuple(this.rate / that.rate for this, that in pairs)
    yield Figure(name=name, unit="times", runs=shares, at_least=at_least)


def _rate(result: Result) -> float:
    return result.rate


def _p50_us(result: Result) -> float:
    return result.p50_us


def _p99_us(result: Result) -> float:
    return result.p99_us


def _name_the_absent() -> None:
    people = Console(stderr=True)
    for each in sites.EVERY:
        lacks = each.missing()
        if lacks:
            people.print(f"messaging: {each.name} is left out; it lacks {lacks}")
