"""Suspicions: a suspect has until a deadline to refute; values, not timers that act.

The first accuser may be wrong, or sick; so its suspicion lasts long, and each further accuser that
found out by itself shortens it (Lifeguard, section 4.2: "dynamic suspicion timeouts").
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from maculaos.identity import NodeId
from maculaos.swim.rumour import NOBODY

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a suspect may refute, in seconds, and how many more accusers make it the least."""

    shortest_s: float
    longest_s: float
    wanted: int

    def timeout_s(self, confirmations: int) -> float:
        """The time that is left to a suspect whom that many more than the first one accuse."""
        if self.wanted <= 0 or confirmations >= self.wanted:
            return self.shortest_s
        certainty = math.log(confirmations + 1) / math.log(self.wanted + 1)
        return self.longest_s - certainty * (self.longest_s - self.shortest_s)


@dataclass(slots=True)
class Suspicion:
    """Since when a member is suspected (monotonic seconds), and by whom."""

    incarnation: int
    started_at: float
    patience: Patience
    accusers: dict[NodeId, None] = field(default_factory=dict)

    @property
    def deadline(self) -> float:
        """When the suspect is declared dead."""
        confirmations = max(0, len(self.accusers) - 1)
        return self.started_at + self.patience.timeout_s(confirmations)


class Suspicions:
    """The suspects of this moment; an accuser has at most ``limit`` of them to its name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._suspicions: dict[NodeId, Suspicion] = {}
        # Deadlines; one that was changed, or whose suspect was cleared, is passed over.
        self._heap: list[tuple[float, NodeId]] = []
        # How many suspicions each accuser began.
        self._begun: dict[NodeId, int] = {}

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._suspicions

    def __len__(self) -> int:
        return len(self._suspicions)

    def count_begun(self, accuser: NodeId) -> int:
        """How many of the suspects that member was the first to accuse."""
        return self._begun.get(accuser, 0)

    def is_too_suspicious(self, accuser: NodeId) -> bool:
        """Whether that member accuses so many that it is more likely sick itself."""
        return accuser != NOBODY and self.count_begun(accuser) >= self._limit

    def start(
        self, node_id: NodeId, incarnation: int, accuser: NodeId, patience: Patience, now: float
    ) -> None:
        """Suspect a member; a suspicion of a higher incarnation starts anew."""
        self.clear(node_id)
        accusers = {} if accuser == NOBODY else {accuser: None}
        suspicion = Suspicion(incarnation, now, patience, accusers)
        self._suspicions[node_id] = suspicion
        for each in accusers:
            self._begun[each] = self._begun.get(each, 0) + 1
        heapq.heappush(self._heap, (suspicion.deadline, node_id))

    def second(self, node_id: NodeId, incarnation: int, accuser: NodeId) -> bool:
        """One more accuses a suspect; return whether that matters, and so is worth telling."""
        held = self._suspicions.get(node_id)
        if held is None or held.incarnation != incarnation or accuser == NOBODY:
            return False
        if accuser in held.accusers or len(held.accusers) > held.patience.wanted:
            return False
        if not held.accusers:
            self._begun[accuser] = self._begun.get(accuser, 0) + 1
        held.accusers[accuser] = None
        heapq.heappush(self._heap, (held.deadline, node_id))
        return True

    def clear(self, node_id: NodeId) -> None:
        """The member refuted, left or died."""
        held = self._suspicions.pop(node_id, None)
        first = next(iter(held.accusers), None) if held is not None else None
        if first is None:
            return
        self._begun[first] -= 1
        if not self._begun[first]:
            del self._begun[first]

    def expired(self, now: float) -> Sequence[NodeId]:
        """Those who did not refute in time; they stay until they are cleared."""
        late: dict[NodeId, None] = {}
        while self._heap and self._heap[0][0] <= now:
            _, node_id = heapq.heappop(self._heap)
            held = self._suspicions.get(node_id)
            if held is not None and held.deadline <= now:
                late[node_id] = None
        return tuple(late)

    def postpone(self, seconds: float) -> None:
        """Give every suspect that much longer."""
        for held in self._suspicions.values():
            held.started_at += seconds
        self._heap = [(held.deadline, node) for node, held in self._suspicions.items()]
        heapq.heapify(self._heap)

    def next_deadline(self) -> float:
        """When the first suspicion expires; infinity if there is none."""
        while self._heap:
            deadline, node_id = self._heap[0]
            held = self._suspicions.get(node_id)
            if held is not None and held.deadline == deadline:
                return deadline
            heapq.heappop(self._heap)
        return math.inf
