"""Allowances: how often each linked member may ask for work (a token bucket for each)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.identity import NodeId


class Allowance:
    """``burst`` requests at once and ``rate`` a second from each member."""

    __slots__ = ("_burst", "_left", "_rate", "refused")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        # What is left, and at which time it was.
        self._left: dict[NodeId, tuple[float, float]] = {}
        self.refused = 0

    def take(self, sender: NodeId, now: float) -> bool:
        """Whether that member may ask once more; the request is counted."""
        left, at = self._left.get(sender, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1.0:
            self.refused += 1
            return False
        self._left[sender] = (left - 1.0, now)
        return True

    def drop(self, sender: NodeId) -> None:
        """The link to that member is gone."""
        self._left.pop(sender, None)
