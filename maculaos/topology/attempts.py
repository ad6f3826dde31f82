"""Attempts to link: which dials are under way, and who was out of reach and is tried again when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId
    from maculaos.topology.settings import TopologySettings


@dataclass(frozen=True, slots=True)
class _Failure:
    """How often in a row, and when to try again, in monotonic seconds."""

    count: int
    retry_at: float


class Attempts:
    """Dials by node; it holds no more nodes than were started and not forgotten."""

    def __init__(self, settings: TopologySettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        # When to stop waiting; all wait equally long, so the first is the earliest.
        self._under_way: dict[NodeId, float] = {}
        self._failures: dict[NodeId, _Failure] = {}

    @property
    def under_way(self) -> int:
        """How many dials are under way."""
        return len(self._under_way)

    def is_under_way(self, node_id: NodeId) -> bool:
        """Whether a dial to that node is under way."""
        return node_id in self._under_way

    def is_out_of_reach(self, node_id: NodeId) -> bool:
        """Whether the last dial to that node failed, and no link has come since."""
        return node_id in self._failures

    def may_start(self, node_id: NodeId, now: float) -> bool:
        """Whether that node may be dialled now."""
        failure = self._failures.get(node_id)
        is_due = failure is None or failure.retry_at <= now
        return is_due and node_id not in self._under_way

    def start(self, node_id: NodeId, now: float) -> None:
        """A dial begins."""
        self._under_way[node_id] = now + self._settings.dial_patience_s

    def fail(self, node_id: NodeId, now: float) -> None:
        """That node does not answer; wait with full jitter above half of the ceiling."""
        self._under_way.pop(node_id, None)
        before = self._failures.get(node_id)
        count = before.count + 1 if before else 1
        wait_s = self._settings.retry_ceiling_s(count - 1) * self._rng.uniform(0.5, 1.0)
        self._failures[node_id] = _Failure(count, now + wait_s)

    def linked(self, node_id: NodeId) -> int:
        """A link is up: nothing is under way; how many failures in a row led to it."""
        failure = self._failures.get(node_id)
        self.forget(node_id)
        return failure.count if failure else 0

    def fail_again(self, node_id: NodeId, before: int, now: float) -> None:
        """A link that came after ``before`` failures did not last: that is one more."""
        self._failures[node_id] = _Failure(before, now)
        self.fail(node_id, now)

    def forget(self, node_id: NodeId) -> None:
        """There is a link to that node, or it is wanted no more."""
        self._under_way.pop(node_id, None)
        self._failures.pop(node_id, None)

    def take_overdue(self, now: float) -> list[NodeId]:
        """The dials of which nothing was heard for too long; they are under way no more."""
        overdue = [node for node, deadline in self._under_way.items() if deadline <= now]
        for node_id in overdue:
            del self._under_way[node_id]
        return overdue

    def overdue_at(self) -> float:
        """When the first dial is overdue; infinity if none is under way."""
        return next(iter(self._under_way.values()), math.inf)

    def retry_at(self, node_id: NodeId) -> float:
        """When that node may be dialled next; infinity while a dial is under way."""
        if node_id in self._under_way:
            return math.inf
        failure = self._failures.get(node_id)
        return failure.retry_at if failure else -math.inf
