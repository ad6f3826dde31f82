"""The clocks of one simulated machine: each runs at its own rate, and no two show the same."""

from __future__ import annotations

from dataclasses import dataclass

# The wall clock of a machine that is right, when the world begins: seconds since the epoch.
EPOCH = 1_700_000_000.0


@dataclass(slots=True)
class HostClock:
    """``rate`` of its own seconds pass in one of the world; ``offset_s`` is what it starts with."""

    offset_s: float = 0.0
    rate: float = 1.0
    # By how much its wall clock is wrong.
    wall_error_s: float = 0.0
    started_at: float = 0.0

    def monotonic(self, now: float) -> float:
        """What the machine reads when it is ``now`` in the world."""
        return (now - self.started_at) * self.rate + self.offset_s + self.started_at

    def wall(self, now: float) -> float:
        """The seconds since the epoch that the machine believes in."""
        return EPOCH + self.wall_error_s + now

    def world(self, monotonic: float) -> float:
        """When the machine will read that."""
        return (monotonic - self.started_at - self.offset_s) / self.rate + self.started_at
