"""Virtual time: what is to happen, in the order of its time, and then in that of its making."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Timeline:
    """Everything that is going to happen; times are seconds since the world began."""

    def __init__(self) -> None:
        self.now = 0.0
        # Plain tuples: millions of them pass through. The number makes the order of simultaneous
        # ones that of their making, and spares comparing the rest.
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call ``action`` with these arguments at that time."""
        self._made += 1
        heapq.heappush(self._heap, (when, self._made, action, arguments))

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to ``deadline``, and let it be ``deadline`` then."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= deadline:
            self.now, _, action, arguments = pop(heap)
            action(*arguments)
        self.now = deadline
