"""What goes wrong in a simulated network, and in the clocks of its nodes.

Links are reliable while they last, as QUIC makes them: a packet that is lost delays what travels
on a stream, and takes a datagram with it. What is lost for good is a dial, or a link that is cut
for longer than its idle timeout. A shorter cut only delays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.settings import LinkSettings
from simulation.clocks import HostClock

if TYPE_CHECKING:
    import random

# What a sender waits beyond three latencies before it takes a packet for lost (RFC 9002, 6.2.1:
# the granularity of timers, and the longest that a receiver sits on an acknowledgement).
_PROBE_MARGIN_S: Final = 0.026
# A packet that is out of order is held up by so many of the longest latencies at most.
_STRAGGLER: Final = 5.0
# A link that waits longer than this to send again is given up anyway.
_LONGEST_RETRY_S: Final = LinkSettings().idle_timeout_s


@dataclass
class Faults:
    """The network between named nodes; times in seconds of virtual time, shares from 0 to 1."""

    shortest_latency_s: float = 0.001
    longest_latency_s: float = 0.020
    # The share of dials that get no answer.
    dial_loss: float = 0.0
    # The share of packets that are lost.
    loss: float = 0.0
    # The share of datagrams that come twice, and of those that come much later than others.
    duplication: float = 0.0
    reordering: float = 0.0
    # The share of envelopes that the nodes between lose, at each link; and of runs of events, which
    # a link that is full drops.
    envelope_loss: float = 0.0
    event_loss: float = 0.0
    # Wall clocks are wrong by up to so much; all clocks run too fast or slow by up to that share.
    clock_skew_s: float = 0.0
    clock_drift: float = 0.0
    _island_of: dict[str, int] = field(default_factory=dict)

    def partition(self, *islands: tuple[str, ...]) -> None:
        """Only nodes of one island reach each other; unnamed nodes are on an island together."""
        self._island_of = {
            name: number for number, island in enumerate(islands, start=1) for name in island
        }

    def heal(self) -> None:
        """Everybody reaches everybody again."""
        self._island_of = {}

    def is_cut(self, one: str, other: str) -> bool:
        """Whether no packet gets from one node to the other."""
        islands = self._island_of
        return bool(islands) and islands.get(one, 0) != islands.get(other, 0)

    def stream_delay(self, rng: random.Random) -> float:
        """How long a message on a stream takes, with what it takes to send lost packets again."""
        latency = rng.uniform(self.shortest_latency_s, self.longest_latency_s)
        delay, wait = latency, 3 * latency + _PROBE_MARGIN_S
        while self.loss and wait < _LONGEST_RETRY_S and rng.random() < self.loss:
            delay += wait
            wait *= 2
        return delay

    def datagram_delays(self, rng: random.Random) -> tuple[float, ...]:
        """How long each copy of a datagram takes that arrives: none, one or two."""
        if self.loss and rng.random() < self.loss:
            return ()
        delay = rng.uniform(self.shortest_latency_s, self.longest_latency_s)
        if self.reordering and rng.random() < self.reordering:
            delay += rng.uniform(0.0, _STRAGGLER * self.longest_latency_s)
        if self.duplication and rng.random() < self.duplication:
            return delay, delay + rng.uniform(0.0, self.longest_latency_s)
        return (delay,)

    def clock(self, rng: random.Random, now: float) -> HostClock:
        """The clock of a node that starts at ``now``."""
        if not (self.clock_skew_s or self.clock_drift):
            return HostClock()
        return HostClock(
            offset_s=rng.uniform(0.0, 1e6),
            rate=1.0 + rng.uniform(-self.clock_drift, self.clock_drift),
            wall_error_s=rng.uniform(-self.clock_skew_s, self.clock_skew_s),
            started_at=now,
        )
