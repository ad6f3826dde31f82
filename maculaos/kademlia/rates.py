"""How much one peer may ask in one second; who asks too much is not answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maculaos.identity import NodeId


class Allowance:
    """At most ``per_second`` of each peer in each second; it remembers one second only."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = -1
        self._used: dict[NodeId, int] = {}

    def take(self, peer: NodeId, now: float, count: int = 1) -> bool:
        """Whether ``peer`` may ask for ``count`` more at ``now``."""
        if int(now) != self._second:
            self._second = int(now)
            self._used = {}
        used = self._used.get(peer, 0) + count
        self._used[peer] = used
        return used <= self._per_second
