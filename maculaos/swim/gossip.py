"""What each linked member has still to be told.

A rumour is told once over each link, and not to whom it came from: gossip travels on a stream,
which loses nothing while the link lasts, and a link that comes up begins with a comparison of the
views. A node with many links tells a random part of its peers only, the retransmit limit of SWIM
(section 4.1). There is at most one rumour per linked member and member of the realm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId
    from maculaos.swim.rumour import Rumour

# One frame of gossip: as much as a stream takes in its stride.
RUMOURS_PER_FRAME: Final = 100
# What rides on a probe, in bytes: with the frame around it, it fits into a datagram of 1,200.
PIGGYBACK_SIZE: Final = 1000


class GossipQueue:
    """Rumours by whom they are to be told; ``rng`` picks the listeners where they are many."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._untold: dict[NodeId, dict[NodeId, Rumour]] = {}
        # Who has something to hear; the one that waited longest comes first.
        self._turns: dict[NodeId, None] = {}

    def __bool__(self) -> bool:
        return bool(self._turns)

    def open(self, peer: NodeId) -> None:
        """From now on tell that linked member, too."""
        self._untold.setdefault(peer, {})

    def close(self, peer: NodeId) -> None:
        """The link is gone."""
        self._untold.pop(peer, None)
        self._turns.pop(peer, None)

    def put(self, rumour: Rumour, source: NodeId | None, budget: int) -> None:
        """Tell ``budget`` linked members of it, but not ``source``, which told it."""
        node_id, untold = rumour.node_id, self._untold
        if source in untold:
            untold[source].pop(node_id, None)
        listeners = list(untold)
        if len(listeners) > budget:
            listeners = self._rng.sample(listeners, budget)
        for peer in listeners:
            if peer != source:
                untold[peer][node_id] = rumour
                self._turns[peer] = None

    def heard(self, peer: NodeId | None, rumour: Rumour) -> None:
        """That member knows it already: it just said so."""
        queue = self._untold.get(peer) if peer is not None else None
        if not queue:
            return
        waiting = queue.get(rumour.node_id)
        if waiting is not None and (waiting is rumour or waiting == rumour):
            del queue[rumour.node_id]

    def forget(self, node_id: NodeId) -> None:
        """Say no more about that member."""
        for queue in self._untold.values():
            queue.pop(node_id, None)

    def next_round(self, fanout: int) -> list[tuple[NodeId, tuple[Rumour, ...]]]:
        """Who is told what in one round of gossip: at most ``fanout`` members, a frame each."""
        told: list[tuple[NodeId, tuple[Rumour, ...]]] = []
        for peer in list(self._turns):
            if len(told) >= fanout:
                break
            del self._turns[peer]
            queue = self._untold[peer]
            if not queue:
                continue
            rumours = tuple(queue.values())[:RUMOURS_PER_FRAME]
            if len(rumours) == len(queue):
                queue.clear()
            else:
                for rumour in rumours:
                    del queue[rumour.node_id]
                self._turns[peer] = None
            told.append((peer, rumours))
        return told

    def piggyback(self, peer: NodeId) -> tuple[Rumour, ...]:
        """What fits on a probe or its answer; since it may be lost, it will be told again."""
        queue = self._untold.get(peer)
        if not queue:
            return ()
        riders: list[Rumour] = []
        room = PIGGYBACK_SIZE
        for rumour in queue.values():
            room -= rumour.size
            if room < 0:
                break
            riders.append(rumour)
        return tuple(riders)
