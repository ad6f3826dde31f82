"""The timeline of a run: what was published and delivered in each second of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from maculaos.loadtest.latencies import Latencies


@dataclass(slots=True)
class Second:
    """One second; deliveries count when they come, with how long they took."""

    published: int = 0
    refused: int = 0
    delivered: Latencies = field(default_factory=Latencies)


class Timeline:
    """So many seconds; what comes later counts for the last one."""

    def __init__(self, seconds: int) -> None:
        self.seconds = tuple(Second() for _ in range(max(1, seconds)))
        self._last = len(self.seconds) - 1

    def at(self, time_s: float) -> Second:
        """The second that ``time_s`` (since the start) is in."""
        return self.seconds[min(max(0, int(time_s)), self._last)]

    def total(self) -> Latencies:
        """The latencies of the whole run."""
        return Latencies().merge(each.delivered for each in self.seconds)

    def used(self) -> tuple[Second, ...]:
        """The seconds up to the last one in which anything happened."""
        busy = [
            number
            for number, each in enumerate(self.seconds)
            if each.published or each.refused or each.delivered.count
        ]
        return self.seconds[: busy[-1] + 1 if busy else 0]
