"""The lost: members that went silent and may come back, tried one at a time at random, for ever.

Membership that only forgets the dead never heals a partition: nobody is left on either side who
would dial the other. A node that took its leave is not lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId


class Lost:
    """At most ``limit`` nodes; one is due every ``interval_s`` seconds on average."""

    def __init__(self, limit: int, interval_s: float, rng: random.Random) -> None:
        self._limit = limit
        self._interval_s = interval_s
        self._rng = rng
        self._nodes: list[NodeId] = []
        self._index: dict[NodeId, int] = {}
        self._due_at = math.inf

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node_id: NodeId) -> bool:
        return node_id in self._index

    def put(self, node_id: NodeId, now: float) -> None:
        """That node is lost; beyond the limit, another one at random is given up for it."""
        if node_id in self._index:
            return
        if len(self._nodes) >= self._limit:
            self.remove(self._rng.choice(self._nodes))
        self._index[node_id] = len(self._nodes)
        self._nodes.append(node_id)
        if math.isinf(self._due_at):
            self._due_at = now + self._interval_s * self._rng.random()

    def remove(self, node_id: NodeId) -> None:
        """That node is found, or gone for good."""
        index = self._index.pop(node_id, None)
        if index is None:
            return
        last = self._nodes.pop()
        if last != node_id:
            self._nodes[index] = last
            self._index[last] = index
        if not self._nodes:
            self._due_at = math.inf

    def take_due(self, now: float) -> NodeId | None:
        """The one to try now, if it is time."""
        if now < self._due_at:
            return None
        self._due_at = now + self._interval_s * self._rng.uniform(0.5, 1.5)
        return self._rng.choice(self._nodes)

    def next_deadline(self) -> float:
        """When the next one is due; infinity if nobody is lost."""
        return self._due_at
