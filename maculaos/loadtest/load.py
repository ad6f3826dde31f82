"""The load: what is published and taken in one run, noted down as it happens.

Shared by the programs of a test, which run on one event loop. It is told the time, and decides
nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from maculaos.loadtest import stamps
from maculaos.loadtest.checker import Checker, Fate
from maculaos.loadtest.latencies import Latencies
from maculaos.loadtest.timeline import Timeline

if TYPE_CHECKING:
    from maculaos.loadtest.scenario import Scenario


class Load:
    """One run; ``run`` tells its events from those of the trial before, which is ``run - 1``."""

    def __init__(self, scenario: Scenario, run: int) -> None:
        self.scenario = scenario
        self.run = run
        self.listens = scenario.listens()
        self.checker = Checker(self.listens)
        self.timeline = Timeline(scenario.duration_s)
        # How much later than meant events went out: what the tester itself adds.
        self.lag = Latencies()
        self.connections_lost = 0
        self.errors: dict[str, int] = {}
        # Whose trial events have come to whom.
        self._met: set[tuple[int, int]] = set()

    @property
    def everyone_met(self) -> bool:
        """Whether every subscriber has heard every publisher of its topic."""
        return len(self._met) == sum(map(len, self.listens))

    def publish(self, publisher: int, due_s: float, now_s: float) -> int:
        """An event goes out now that was meant for ``due_s``; returns its number."""
        self.lag.record(round((now_s - due_s) * 1_000_000))
        self.timeline.at(now_s).published += 1
        fate = Fate.OPEN if self.scenario.acknowledge else Fate.TAKEN
        return self.checker.publish(publisher, due_s, fate)

    def confirm(self, publisher: int, sequence: int) -> None:
        """The mesh says that it was delivered."""
        self.checker.settle(publisher, sequence, Fate.TAKEN)

    def refuse(self, publisher: int, sequence: int, code: str, now_s: float) -> None:
        """The mesh says that it was not, or does not know."""
        self.checker.settle(publisher, sequence, Fate.REFUSED)
        self.timeline.at(now_s).refused += 1
        self.errors[code] = self.errors.get(code, 0) + 1

    def leave(self, subscriber: int, now_s: float) -> None:
        """That subscriber has lost its connection."""
        self.connections_lost += 1
        self.checker.leave(subscriber, now_s)

    def take(self, subscriber: int, payload: object, now_s: float) -> None:
        """An event came to that subscriber."""
        if not isinstance(payload, bytes):
            self.checker.foreign += 1
            return
        try:
            run, publisher, sequence, due_us = stamps.read(payload)
        except struct.error:
            self.checker.foreign += 1
            return
        if run != self.run:
            if run == self.run - 1:
                self._met.add((publisher, subscriber))
        elif self.checker.take(subscriber, publisher, sequence, now_s):
            took_us = round(now_s * 1_000_000) - due_us
            self.timeline.at(now_s).delivered.record(took_us)
