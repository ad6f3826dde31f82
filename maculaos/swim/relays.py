"""Probes on behalf of others: whom this node asked for whom.

Everybody who asks is told something: PONG if the target answered, NACK if it did not in time, so
that the asker learns whether it is the target or itself that is cut off (Lifeguard, section 4.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.identity import NodeId

if TYPE_CHECKING:
    from collections.abc import Sequence

# At once, for all peers together; each asks a few times a second at most.
_LIMIT: Final = 256


@dataclass(frozen=True, slots=True)
class Relay:
    """``asker`` waits for an answer to its own ``sequence`` until ``deadline``."""

    asker: NodeId
    sequence: int
    target: NodeId
    deadline: float


class Relays:
    """The relays under way, by the sequence number of this node's own PING."""

    def __init__(self) -> None:
        self._open: dict[int, Relay] = {}

    def __len__(self) -> int:
        return len(self._open)

    def has_room(self) -> bool:
        """Whether one more may be begun."""
        return len(self._open) < _LIMIT

    def open(self, number: int, relay: Relay) -> None:
        """This node sent a PING of that number for somebody else."""
        self._open[number] = relay

    def answer(self, number: int, sender: NodeId) -> Relay | None:
        """The target answered: who is to be told."""
        relay = self._open.get(number)
        if relay is None or relay.target != sender:
            return None
        return self._open.pop(number)

    def expired(self, now: float) -> Sequence[Relay]:
        """Those whose target did not answer in time; they are closed."""
        if not self._open:
            return ()
        late = [number for number, relay in self._open.items() if relay.deadline <= now]
        return [self._open.pop(number) for number in late]

    def next_deadline(self) -> float:
        """When the first relay is given up; infinity if there is none."""
        if not self._open:
            return math.inf
        return min([relay.deadline for relay in self._open.values()])
