"""The members table: what this node believes of every other node, and for how long.

It merges; it sends nothing and suspects nobody. A member that is gone stays as a tombstone for a
while, so that old good news does not raise the dead. Bad news about a stranger is not taken up:
otherwise nodes would tell each other of the dead for ever.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from maculaos.swim.digest import Digest
from maculaos.swim.rumour import Health, Rumour, beats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.identity import NodeId


class Members:
    """At most ``limit`` other nodes; ``tombstone_s`` is in seconds."""

    def __init__(self, limit: int, tombstone_s: float) -> None:
        self._limit = limit
        self._tombstone_s = tombstone_s
        self._members: dict[NodeId, Rumour] = {}
        # When each tombstone expires; all last equally long, so the first is the earliest.
        self._tombstones: dict[NodeId, float] = {}
        self.digest = Digest()
        self.refused = 0

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Rumour]:
        return iter(self._members.values())

    def get(self, node_id: NodeId) -> Rumour | None:
        """What is believed of that node, if it is known."""
        return self._members.get(node_id)

    def is_present(self, node_id: NodeId) -> bool:
        """Whether that node is a member that is alive or suspected."""
        held = self._members.get(node_id)
        return held is not None and not held.health.is_gone

    def count_present(self) -> int:
        """How many are alive or suspected."""
        return len(self._members) - len(self._tombstones)

    def opening(self) -> tuple[int, int]:
        """How many are present, this node included, and the digest of all of them.

        With it two members begin to compare their views.
        """
        return self.count_present() + 1, self.digest.total

    def is_news(self, heard: Rumour) -> bool:
        """Whether believing ``heard`` would change the table."""
        held = self._members.get(heard.node_id)
        if held is not None:
            return beats(heard, held)
        if heard.health >= Health.DEAD:
            return False
        if len(self._members) >= self._limit:
            self.refused += 1
            return False
        return True

    def put(self, rumour: Rumour, now: float) -> Rumour | None:
        """Hold ``rumour`` from now on; return what was held before."""
        node_id = rumour.node_id
        before = self._members.get(node_id)
        self._members[node_id] = rumour
        if before is None:
            self.digest.toggle(rumour)
        else:
            self.digest.replace(before, rumour)
        if rumour.health < Health.DEAD:
            self._tombstones.pop(node_id, None)
        elif before is None or before.health < Health.DEAD:
            self._tombstones[node_id] = now + self._tombstone_s
        return before

    def bury(self, now: float) -> list[Rumour]:
        """Forget those whose tombstone has expired; return them."""
        expired: list[NodeId] = []
        for node_id, deadline in self._tombstones.items():
            if deadline > now:
                break
            expired.append(node_id)
        for node_id in expired:
            del self._tombstones[node_id]
        return [self._members.pop(node_id) for node_id in expired]

    def next_deadline(self) -> float:
        """When the first tombstone expires; infinity if there is none."""
        return next(iter(self._tombstones.values()), math.inf)

    def count_by_health(self) -> dict[Health, int]:
        """How many members there are of each health."""
        counts = dict.fromkeys(Health, 0)
        for member in self._members.values():
            counts[member.health] += 1
        return counts
