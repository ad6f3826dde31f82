"""The watch over every app that has probes: who is due is asked, and what is thought is kept.

A restarted program begins anew; what is no longer watched is forgotten. The watch remembers
nothing beyond its process: after a restart of the reconciler every app proves itself again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.probes.judge import Judgement, begin, judge, overall
from reconciler.probes.run import Place, Prober
from reconciler.probes.spec import Health, Probe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maculaos.host.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One app to be watched: which run of which program, where, and how."""

    place: Place
    health: Health
    # Anything that changes when the program is started again.
    run: str


@dataclass(slots=True)
class _Asked:
    """One probe of one app, over time."""

    probe: Probe
    judgement: Judgement
    due_at: float


@dataclass(slots=True)
class _App:
    run: str
    health: Health
    probes: dict[str, _Asked] = field(default_factory=dict)


class HealthWatch:
    """Asks what is due each time it is told to, and says what is thought by now."""

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober = prober
        self._clock = clock
        self._apps: dict[str, _App] = {}

    async def round(self, watched: Iterable[Watched]) -> Mapping[str, Judgement]:
        """Ask every probe that is due, all at once; by jail, what is thought of it."""
        now = self._clock.monotonic()
        places = {each.place.jail: each for each in watched}
        self._apps = {jail: self._app(each, now) for jail, each in places.items()}
        due = [
            (places[jail].place, asked)
            for jail, app in self._apps.items()
            for asked in app.probes.values()
            if asked.due_at <= now
        ]
        await asyncio.gather(*(self._ask(place, asked, now) for place, asked in due))
        return self.judgements()

    def judgements(self) -> Mapping[str, Judgement]:
        """By jail, what is thought; nothing is asked."""
        return {
            jail: overall(asked.judgement for asked in app.probes.values())
            for jail, app in sorted(self._apps.items())
        }

    def next_at(self) -> float | None:
        """When, by the monotonic clock, the next probe is due; None if nothing is watched."""
        dates = [asked.due_at for app in self._apps.values() for asked in app.probes.values()]
        return min(dates, default=None)

    def _app(self, watched: Watched, now: float) -> _App:
        known = self._apps.get(watched.place.jail)
        if known is not None and (known.run, known.health) == (watched.run, watched.health):
            return known
        probes = watched.health.probes().items()
        made = {kind: _Asked(probe, begin(now), now) for kind, probe in probes}
        return _App(watched.run, watched.health, made)

    async def _ask(self, place: Place, asked: _Asked, now: float) -> None:
        # From the question, so that slow answers do not slow the rhythm down.
        asked.due_at = now + asked.probe.interval_s
        result = await self._prober.ask(asked.probe, place)
        asked.judgement = judge(asked.judgement, result, asked.probe)
