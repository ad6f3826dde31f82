"""How well this node itself is doing, judged by its own probes (Lifeguard, section 4.1).

Who is slow finds everybody else slow. So each probe that fails where it should not makes the node
doubt itself first: it waits longer, asks less often, and accuses one member at a time.
"""

from __future__ import annotations


class Awareness:
    """A score from 0, healthy, to ``worst``."""

    __slots__ = ("_worst", "score")

    def __init__(self, worst: int) -> None:
        self._worst = worst
        self.score = 0

    def worsen(self, by: int = 1) -> None:
        """Something went wrong that may be this node's own fault."""
        self.score = min(self.score + by, self._worst)

    def improve(self) -> None:
        """A probe was answered in time."""
        if self.score:
            self.score -= 1

    @property
    def factor(self) -> int:
        """By how much probe interval and probe timeout are stretched."""
        return self.score + 1

    @property
    def is_sick(self) -> bool:
        """Whether this node had better not judge others: the score is in its upper half."""
        return 2 * self.score > self._worst
