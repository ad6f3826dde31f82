"""Whom to probe next, and which probes are unanswered.

Targets go round robin over a shuffled list that is shuffled again after each round: every linked
member is probed once per round, so detection is bounded (SWIM, section 4.3). There is no indirect
probe: a lost link counts as an unanswered probe, and other members speak for the accused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from maculaos.identity import NodeId

if TYPE_CHECKING:
    import random
    from collections.abc import Collection


@dataclass(frozen=True, slots=True)
class Probe:
    """One question waiting for its answer until ``deadline`` (monotonic seconds)."""

    target: NodeId
    deadline: float


class Probes:
    """The round of targets and the open probes: at most two for each linked member."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._round: list[NodeId] = []
        self._open: dict[int, Probe] = {}
        self._sequence = 0

    def next_target(self, peers: Collection[NodeId]) -> NodeId | None:
        """The next member of the round; ``None`` if nobody is linked."""
        while self._round:
            target = self._round.pop()
            if target in peers:
                return target
        self._round = list(peers)
        self._rng.shuffle(self._round)
        return self._round.pop() if self._round else None

    def open(self, target: NodeId, deadline: float) -> int:
        """Expect an answer from ``target`` until ``deadline``; return the sequence number."""
        self._sequence += 1
        self._open[self._sequence] = Probe(target, deadline)
        return self._sequence

    def answer(self, sequence: int, sender: NodeId) -> bool:
        """Close the probe of that number, if ``sender`` is whom it was put to."""
        probe = self._open.get(sequence)
        if probe is None or probe.target != sender:
            return False
        del self._open[sequence]
        return True

    def cancel(self, target: NodeId) -> None:
        """Expect nothing more of ``target``."""
        self._open = {n: probe for n, probe in self._open.items() if probe.target != target}

    def expired(self, now: float) -> list[NodeId]:
        """Those who did not answer in time; their probes are closed."""
        late = [number for number, probe in self._open.items() if probe.deadline <= now]
        return [self._open.pop(number).target for number in late]

    def postpone(self, seconds: float) -> None:
        """Give every open probe that much longer."""
        for number, probe in self._open.items():
            self._open[number] = replace(probe, deadline=probe.deadline + seconds)

    def next_deadline(self) -> float:
        """When the first open probe is given up; infinity if there is none."""
        return min((probe.deadline for probe in self._open.values()), default=math.inf)
