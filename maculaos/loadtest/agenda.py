"""The agenda of a virtual mesh: what is to happen, in the order of its time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Agenda:
    """Times are seconds; what is for one moment happens in the order in which it was put down."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._written = 0

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call ``action`` with these arguments then; at once, if that is past."""
        self._written += 1
        heapq.heappush(self._heap, (max(when, self.now), self._written, action, arguments))

    def run_until(self, deadline: float) -> None:
        """Let everything happen up to ``deadline``, which is the time afterwards."""
        heap = self._heap
        while heap and heap[0][0] <= deadline:
            self.now, _, action, arguments = heapq.heappop(heap)
            action(*arguments)
        self.now = deadline
