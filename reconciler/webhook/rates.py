"""How often: a token bucket that bounds a rate, and a coalescer that makes bursts into one.

Pure: ``now`` is an argument, in seconds that never go back.
"""

from __future__ import annotations


class TokenBucket:
    """Lets ``burst`` through at once, and ``rate_per_s`` in the long run."""

    def __init__(self, rate_per_s: float, burst: int, now: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = now

    @classmethod
    def per_minute(cls, count: int, now: float) -> TokenBucket:
        """That many a minute, of which a tenth may come at once, and never less than ten."""
        return cls(count / 60, max(count // 10, min(count, 10)), now)

    def take(self, now: float) -> bool:
        """Whether one more may pass; if so, it did."""
        passed_s = max(0.0, now - self._at)
        self._at = max(self._at, now)
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate_per_s)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Coalescer:
    """Turns many wishes into few acts: one at once, then at most one every ``gap_s``.

    No wish is lost: after the last one an act always follows.
    """

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._free_at = float("-inf")
        self._is_pending = False

    def wished(self, now: float) -> float | None:
        """How long to wait before ``acted``; None if an act is under way to be done anyhow."""
        if self._is_pending:
            return None
        self._is_pending = True
        return max(0.0, self._free_at - now)

    def acted(self, now: float) -> None:
        """The act begins: whatever is wished from here on needs another."""
        self._is_pending = False
        self._free_at = now + self._gap_s
