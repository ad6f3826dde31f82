"""What goes wrong in a simulated network: latency, lost dials, partitions."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Faults:
    """The network between named nodes; times in seconds of virtual time.

    Links are reliable while they last, as QUIC makes them: what is lost is a dial, or a link that
    is cut for longer than its idle timeout. A shorter cut only delays.
    """

    shortest_latency_s: float = 0.001
    longest_latency_s: float = 0.020
    # The share of dials that get no answer.
    dial_loss: float = 0.0
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
        return self._island_of.get(one, 0) != self._island_of.get(other, 0)
