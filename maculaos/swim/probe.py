"""Which probes are unanswered, and how far each of them is.

A probe has stages: first the target is asked directly, then others are asked to ask it (SWIM,
section 4.1) while it is asked again, twice. Only when nothing came of all that has it failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from maculaos.identity import NodeId

if TYPE_CHECKING:
    from collections.abc import Sequence

# Open probes of members without link; a loss of more links at once is no single member's fault.
_ABSENT_LIMIT: Final = 64


@dataclass(slots=True)
class Probe:
    """One question waiting for its answer until ``deadline`` (monotonic seconds)."""

    sequence: int
    target: NodeId
    deadline: float
    # How many stages are over.
    stage: int = 0
    # Who was asked to ask the target, and has said nothing yet.
    awaited: dict[NodeId, None] = field(default_factory=dict)
    # Who was asked at all.
    helpers: tuple[NodeId, ...] = ()


class Probes:
    """The open probes: at most one for each member."""

    def __init__(self) -> None:
        self._open: dict[int, Probe] = {}
        self._by_target: dict[NodeId, Probe] = {}
        self._sequence = 0

    def __len__(self) -> int:
        return len(self._open)

    def number(self) -> int:
        """A sequence number that was never used before."""
        self._sequence += 1
        return self._sequence

    def of(self, target: NodeId) -> Probe | None:
        """The open probe of that member, if there is one."""
        return self._by_target.get(target)

    def open(self, target: NodeId, deadline: float) -> Probe:
        """Expect an answer from ``target`` until ``deadline``; it must have no open probe."""
        probe = Probe(self.number(), target, deadline)
        self._open[probe.sequence] = probe
        self._by_target[target] = probe
        return probe

    def has_room(self) -> bool:
        """Whether one more member without link may be probed."""
        return len(self._open) < _ABSENT_LIMIT

    def answer(self, sequence: int, sender: NodeId) -> Probe | None:
        """Close the probe of that number, if ``sender`` is the target or was asked to ask it."""
        probe = self._open.get(sequence)
        if probe is None or (probe.target != sender and sender not in probe.helpers):
            return None
        return self.close(probe)

    def deny(self, sequence: int, sender: NodeId) -> bool:
        """Who was asked to ask could not; the probe stays open. False if nobody asked it."""
        probe = self._open.get(sequence)
        if probe is None or sender not in probe.awaited:
            return False
        del probe.awaited[sender]
        return True

    def cancel(self, target: NodeId) -> None:
        """Expect nothing more of ``target``."""
        probe = self._by_target.get(target)
        if probe is not None:
            self.close(probe)

    def close(self, probe: Probe) -> Probe:
        """Expect no answer to that probe any more."""
        del self._open[probe.sequence]
        del self._by_target[probe.target]
        return probe

    def overdue(self, now: float) -> Sequence[Probe]:
        """The probes whose present stage is over; they stay open."""
        if not self._open:
            return ()
        return [probe for probe in self._open.values() if probe.deadline <= now]

    def postpone(self, seconds: float) -> None:
        """Give every open probe that much longer."""
        for probe in self._open.values():
            probe.deadline += seconds

    def next_deadline(self) -> float:
        """When a stage of an open probe is over; infinity if none is open."""
        if not self._open:
            return math.inf
        return min([probe.deadline for probe in self._open.values()])
