"""How often one source may ask: a token bucket each, in a table of bounded size.

Pure: time comes in as an argument. A full table forgets who asked longest ago, whose bucket has
had the most time to fill.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_SOURCES: Final = 4096


class Pace:
    """``burst`` questions at once, then ``per_s`` a second, from each source."""

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, source: str, now: float) -> bool:
        """Whether ``source`` may ask once more at ``now``, in seconds; counts it if so."""
        left, then = self._buckets.pop(source, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_s)
        is_allowed = left >= 1
        self._buckets[source] = (left - 1 if is_allowed else left, now)
        if len(self._buckets) > MAX_SOURCES:
            self._buckets.popitem(last=False)
        return is_allowed
