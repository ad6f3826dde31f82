"""The timeline of a run: what was published and delivered in each part of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from maculaos.loadtest.latencies import Latencies

# A run is cut into no more parts than this, each as long as one of these, in seconds.
_PARTS_MAX: Final = 120
_LENGTHS_S: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 900)
# As long as this is room for what comes after the last event was published.
_AFTERWARDS_S: Final = 120


@dataclass(slots=True)
class Slot:
    """One part; deliveries count when they come, with how long they took."""

    published: int = 0
    refused: int = 0
    delivered: Latencies = field(default_factory=Latencies)


class Timeline:
    """The parts of a run that publishes for ``duration_s``; what is late counts for the last."""

    def __init__(self, duration_s: float) -> None:
        fitting = (each for each in _LENGTHS_S if duration_s <= each * _PARTS_MAX)
        #: How long each part is, in seconds.
        self.slot_s: float = next(fitting, _LENGTHS_S[-1])
        self._last = int((duration_s + _AFTERWARDS_S) / self.slot_s)
        # Made when something happens in them.
        self._slots: list[Slot] = []

    def at(self, time_s: float) -> Slot:
        """The part that ``time_s`` (since the start) is in, to count there."""
        number = self._number(time_s)
        while number >= len(self._slots):
            self._slots.append(Slot())
        return self._slots[number]

    def seen(self, time_s: float) -> Slot:
        """The same to look at: a part in which nothing happened is empty, and none is made."""
        number = self._number(time_s)
        return self._slots[number] if number < len(self._slots) else Slot()

    def total(self) -> Latencies:
        """The latencies of the whole run."""
        return Latencies().merge(each.delivered for each in self._slots)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The parts up to the last one in which anything happened."""
        return tuple(self._slots)

    def _number(self, time_s: float) -> int:
        return min(max(0, int(time_s / self.slot_s)), self._last)
