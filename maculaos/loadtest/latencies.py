"""Latencies: how often each time was seen, with a relative error below one per cent.

Buckets grow with what they hold, as in HdrHistogram (G. Tene): 128 of them for each doubling. So
the room that is taken follows from the range of values, never from how many there were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# So many bits of a value count; the rest is its scale.
_BITS: Final = 8
_HALF: Final = 1 << (_BITS - 1)
_FULL: Final = 1 << _BITS
#: Microseconds; longer ones count as this long (71 minutes).
LONGEST_US: Final = (1 << 32) - 1
SHARES: Final = (0.5, 0.9, 0.99, 0.999)


class Latencies:
    """A histogram of times in whole microseconds."""

    __slots__ = ("_counts", "_sum", "count", "highest_us", "lowest_us")

    def __init__(self) -> None:
        self.count = 0
        self.highest_us = 0
        self.lowest_us = 0
        self._sum = 0
        self._counts: dict[int, int] = {}

    def record(self, time_us: int) -> None:
        """One more took ``time_us``; below 0 counts as 0."""
        time_us = min(max(time_us, 0), LONGEST_US)
        shift = max(0, time_us.bit_length() - _BITS)
        bucket = shift * _HALF + (time_us >> shift)
        self._counts[bucket] = self._counts.get(bucket, 0) + 1
        self._sum += time_us
        if time_us > self.highest_us:
            self.highest_us = time_us
        if not self.count or time_us < self.lowest_us:
            self.lowest_us = time_us
        self.count += 1

    def merge(self, others: Iterable[Latencies]) -> Latencies:
        """Count what others saw, too; returns itself."""
        for other in filter(lambda each: each.count, others):
            for bucket, count in other._counts.items():
                self._counts[bucket] = self._counts.get(bucket, 0) + count
            seen = (self.lowest_us,) if self.count else ()
            self.lowest_us = min((*seen, other.lowest_us))
            self.highest_us = max(self.highest_us, other.highest_us)
            self._sum += other._sum
            self.count += other.count
        return self

    @property
    def mean_us(self) -> float:
        """The mean; 0 of nothing."""
        return self._sum / self.count if self.count else 0.0

    def percentile_us(self, share: float) -> int:
        """No less than this share (0 to 1) took at most so long; 0 of nothing.

        The nearest rank, at the upper edge of its bucket: too long by less than one per cent,
        never too short.
        """
        wanted = share * self.count
        seen = 0
        for _, high, count in self.steps():
            seen += count
            if seen >= wanted:
                return min(high, self.highest_us)
        return self.highest_us

    def steps(self) -> Iterator[tuple[int, int, int]]:
        """Lowest and highest time of each bucket that holds anything, and how many; rising."""
        for bucket in sorted(self._counts):
            low, high = _edges(bucket)
            yield low, high, self._counts[bucket]

    def to_dict(self) -> dict[str, float]:
        """What people ask for, in milliseconds."""
        shares = {f"p{100 * share:g}_ms": self.percentile_us(share) / 1000 for share in SHARES}
        return {
            "count": self.count,
            "min_ms": self.lowest_us / 1000,
            "mean_ms": round(self.mean_us / 1000, 4),
            **shares,
            "max_ms": self.highest_us / 1000,
        }


def _edges(bucket: int) -> tuple[int, int]:
    """The lowest and the highest time of ``bucket``."""
    if bucket < _FULL:
        return bucket, bucket
    shift = bucket // _HALF - 1
    top = bucket - shift * _HALF
    return top << shift, ((top + 1) << shift) - 1
