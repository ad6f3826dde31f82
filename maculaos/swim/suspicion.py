"""Suspicions: a suspect has until a deadline to refute; a value, not a timer that acts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.identity import NodeId


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Since when a member is suspected, and how long it may refute; monotonic seconds."""

    started_at: float
    timeout_s: float

    @property
    def deadline(self) -> float:
        """When the suspect is declared dead."""
        return self.started_at + self.timeout_s


class Suspicions:
    """The suspects of this moment."""

    def __init__(self) -> None:
        self._suspicions: dict[NodeId, Suspicion] = {}

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._suspicions

    def start(self, node_id: NodeId, now: float, timeout_s: float) -> None:
        """Suspect a member; a suspicion of a higher incarnation starts anew."""
        self._suspicions[node_id] = Suspicion(now, timeout_s)

    def clear(self, node_id: NodeId) -> None:
        """The member refuted, left or died."""
        self._suspicions.pop(node_id, None)

    def expired(self, now: float) -> list[NodeId]:
        """Those who did not refute in time."""
        return [node for node, held in self._suspicions.items() if held.deadline <= now]

    def postpone(self, seconds: float) -> None:
        """Give every suspect that much longer."""
        for node, held in self._suspicions.items():
            self._suspicions[node] = replace(held, started_at=held.started_at + seconds)

    def next_deadline(self) -> float:
        """When the first suspicion expires; infinity if there is none."""
        return min((held.deadline for held in self._suspicions.values()), default=math.inf)
