"""Messages and calls beside those of others: the same work, in one run, in turn.

Each round lets every contender do the work once, in an order that turns from round to round; a
ratio is of two figures of one round. Whoever is not installed is named, and left out; so is whoever
fails, of that work, and the suite fails at its end.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Console

from bench import growth, sites
from bench.contest import Result, Work, measure
from bench.figures import Figure
from bench.parts import PartFailed

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
    """Every figure of messaging; raises ``PartFailed`` at the end if a contender failed."""
    _name_the_absent()
    ring = Ring(runs)
    once = "1 -> 1, 100 B, at most once"
    at_most_once = ring.rounds(Work(role="publish"), sites.EVERY)
    yield from _rates(once, at_most_once, {sites.NATS: 1.2, sites.GMQTT: 2.5})
    shares = at_most_once.get(sites.DAEMONS.name), at_most_once.get(OURS.name)
    yield from _ratio(f"{once}: two daemons / embedded", *shares, _rate, at_least=0.5)
    yield from _acknowledged(ring, at_most_once)
    some = (OURS, sites.NATS, sites.GMQTT, sites.ZENOH, sites.PLAIN)
    wide = ring.rounds(Work(role="publish", takers=8), some)
    yield from _rates("1 -> 8, 100 B, in total", wide, {sites.NATS: 1.0})
    large = ring.rounds(Work(role="publish", size=LARGE), some)
    yield from _rates("1 -> 1, 16 KiB", large, {sites.NATS: 0.8})
    yield from _calls(ring)
    yield from growth.figures()
    if ring.failed:
        raise PartFailed(f"not all was measured: {', '.join(ring.failed)}")


@dataclass(slots=True)
class Ring:
    """Where contenders take turns, in so many rounds of each work; ``failed``: who at what."""

    runs: int
    failed: list[str] = field(default_factory=list)

    def rounds(self, work: Work, contenders: Sequence[Contender]) -> Rounds:
        """What each of them that is here, and does not fail, found, round by round."""
        here = [each for each in contenders if not each.missing()]
        found: Rounds = {each.name: [] for each in here}
        for number in range(self.runs):
            for each in here if number % 2 == 0 else reversed(here):
                if each.name in found:
                    self._let(each, work, found)
        return found

    def _let(self, contender: Contender, work: Work, found: Rounds) -> None:
        try:
            found[contender.name].append(asyncio.run(measure(contender, work)))
        except PartFailed as error:
            del found[contender.name]
            what = f"{contender.name} at {work}"
            self.failed.append(what)
            Console(stderr=True).print(f"messaging: {what} failed: {error}", markup=False)


def _acknowledged(ring: Ring, at_most_once: Rounds) -> Iterator[Figure]:
    work = Work(role="acknowledge", in_flight=IN_FLIGHT)
    found = ring.rounds(work, (OURS, sites.DAEMONS, sites.GMQTT, sites.PAHO))
    name = "1 -> 1, 100 B, at least once"
    yield from _rates(name, found, {sites.GMQTT: 3.0})
    halves = found.get(OURS.name), at_most_once.get(OURS.name)
    yield from _ratio(f"{name} / at most once", *halves, _rate, at_least=0.5)


def _calls(ring: Ring) -> Iterator[Figure]:
    callers = (OURS, sites.DAEMONS, sites.NATS, sites.ZENOH, sites.PLAIN)
    alone = ring.rounds(Work(role="call"), callers)
    bounds = {sites.NATS: 1.0, sites.ZENOH: 1.0}
    for part, of in (("p50", _p50_us), ("p99", _p99_us)):
        name = f"calls one at a time, {part}"
        for caller, found in alone.items():
            yield Figure(name=f"{name}: {caller}", unit="us", runs=tuple(map(of, found)))
        for other, bound in bounds.items():
            yield from _ratio(*_against(name, alone, other), of, at_most=bound)
    many = ring.rounds(Work(role="call", in_flight=CALLS), callers)
    yield from _rates(f"calls, {CALLS} in flight", many, {sites.NATS: 1.0})


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
        yield from _ratio(*_against(name, found, other), _rate, at_least=bound)


def _against(
    name: str, found: Rounds, other: Contender
) -> tuple[str, list[Result] | None, list[Result] | None]:
    """The name of our ratio to ``other``, and what both found."""
    of_both = found.get(OURS.name), found.get(other.name)
    return f"{name}: {OURS.name} / {other.name}", *of_both


def _ratio(
    name: str,
    these: list[Result] | None,
    those: list[Result] | None,
    of: Callable[[Result], float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Iterator[Figure]:
    """Of what the one found to what the other did, round by round, if neither is left out."""
    if these is not None and those is not None:
        pairs = zip(these, those, strict=True)
        yield Figure(
            name=name,
            unit="times",
            runs=tuple(of(this) / of(that) for this, that in pairs),
            at_least=at_least,
            at_most=at_most,
        )


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
