"""The schedule of one publisher: when each of its events is meant to go out.

It is an open loop: the times follow from the rate alone, whatever the mesh does meanwhile. Time is
measured from the moment an event was meant to go, so a stall counts against every event that it
held up, not against one (G. Tene: coordinated omission).
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """Event ``n`` is due at ``phase_s + n / rate``; seconds since the start of the run."""

    # Events per second.
    rate: float
    phase_s: float
    duration_s: float

    @property
    def total(self) -> int:
        """How many events there are in all: those that are due before the end."""
        room = max(0.0, self.duration_s - self.phase_s) * self.rate
        # Rounded first, so that 0.3 s at 10/s are three events and not four.
        return max(0, math.ceil(round(room, 6)))

    def at_s(self, number: int) -> float:
        """When that event is due."""
        return self.phase_s + number / self.rate

    def due(self, now_s: float) -> int:
        """How many events are due by then: the numbers below this one."""
        if now_s < self.phase_s:
            return 0
        guess = min(self.total, math.floor((now_s - self.phase_s) * self.rate) + 1)
        # Division and multiplication may disagree by a hair.
        while guess < self.total and self.at_s(guess) <= now_s:
            guess += 1
        while guess > 0 and self.at_s(guess - 1) > now_s:
            guess -= 1
        return guess


def spread(rate: float, publishers: int, duration_s: float) -> tuple[Schedule, ...]:
    """Schedules for so many publishers that together make ``rate``, evenly and in turn."""
    share = rate / publishers
    return tuple(Schedule(share, number / rate, duration_s) for number in range(publishers))
