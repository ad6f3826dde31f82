"""The rumours still to be passed on, each a bounded number of times (SWIM, section 4.1).

It holds at most one rumour per member, so it is bounded by the number of members.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.identity import NodeId
    from maculaos.swim.rumour import Rumour

# What rides on one packet: about a datagram of rumours.
RUMOURS_PER_PACKET: Final = 12


class GossipQueue:
    """Rumours with what is left of their retransmit budget; the least sent go first."""

    def __init__(self) -> None:
        self._sent: dict[NodeId, int] = {}
        self._rumours: dict[NodeId, Rumour] = {}

    def __len__(self) -> int:
        return len(self._rumours)

    def put(self, rumour: Rumour) -> None:
        """Pass this on; it replaces what was being said about the same member."""
        self._rumours[rumour.node_id] = rumour
        self._sent[rumour.node_id] = 0

    def forget(self, node_id: NodeId) -> None:
        """Say no more about that member."""
        self._rumours.pop(node_id, None)
        self._sent.pop(node_id, None)

    def take(self, budget: int, count: int = RUMOURS_PER_PACKET) -> tuple[Rumour, ...]:
        """The rumours for one packet; one that rode on ``budget`` packets is dropped."""
        chosen = heapq.nsmallest(count, self._sent, key=self._sent.__getitem__)
        taken = tuple(self._rumours[node] for node in chosen)
        for node in chosen:
            self._sent[node] += 1
            if self._sent[node] >= budget:
                self.forget(node)
        return taken
