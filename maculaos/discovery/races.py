"""Races: the addresses of one member dialled side by side, a moment apart; the first link wins.

An address that does not answer must not hold up the others (RFC 8305, "Happy Eyeballs", section
5). A race is run once: when its last address failed the member is out of reach, and whether to try
again is for who asked. It says when to dial; it dials nobody.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.identity import NodeId

# RFC 8305, section 8, calls it the connection attempt delay.
STAGGER_S: Final = 0.25


@dataclass(slots=True)
class _Race:
    waiting: deque[str]
    # When the next of ``waiting`` starts; and until when to hear of each dial under way.
    next_at: float
    dialling: dict[str, float] = field(default_factory=dict)

    @property
    def due(self) -> float:
        """When there is something to start, or to give up."""
        starts_at = self.next_at if self.waiting else math.inf
        return min(starts_at, min(self.dialling.values(), default=math.inf))


class Races:
    """One race for each member that is dialled; a dial is given up after ``patience_s`` seconds."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._races: dict[NodeId, _Race] = {}

    def __len__(self) -> int:
        return len(self._races)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._races

    def start(self, node_id: NodeId, addresses: Iterable[str], at: float) -> None:
        """Dial that member from ``at`` on; a race that is under way goes on as it is."""
        if node_id not in self._races:
            self._races[node_id] = _Race(deque(dict.fromkeys(addresses)), at)

    def end(self, node_id: NodeId) -> None:
        """There is a link to that member, or nobody wants one any more."""
        self._races.pop(node_id, None)

    def failed(self, address: str, now: float) -> tuple[NodeId, ...]:
        """A dial came to nothing; who is out of reach by that. The next address starts at once."""
        lost = []
        for node_id, race in self._races.items():
            if race.dialling.pop(address, None) is not None:
                race.next_at = min(race.next_at, now)
                if not (race.waiting or race.dialling):
                    lost.append(node_id)
        for node_id in lost:
            del self._races[node_id]
        return tuple(lost)

    def take_due(self, now: float, room: int) -> list[str]:
        """The addresses to dial now, at most ``room``; those beyond wait a moment."""
        dialled: list[str] = []
        for race in self._races.values():
            if not race.waiting or race.next_at > now:
                continue
            race.next_at = now + STAGGER_S
            if len(dialled) < room:
                address = race.waiting.popleft()
                race.dialling[address] = now + self._patience_s
                dialled.append(address)
        return dialled

    def take_silent(self, now: float) -> tuple[NodeId, ...]:
        """Give up dials of which nothing was heard for too long; who is out of reach by that."""
        silent = dict.fromkeys(
            address
            for race in self._races.values()
            for address, until in race.dialling.items()
            if until <= now
        )
        return tuple(node_id for address in silent for node_id in self.failed(address, now))

    def is_dialling(self, address: str) -> bool:
        """Whether a dial of that address is under way."""
        return any(address in race.dialling for race in self._races.values())

    def count_dialling(self) -> int:
        """How many dials are under way."""
        return sum(len(race.dialling) for race in self._races.values())

    def next_deadline(self) -> float:
        """When ``take_due`` or ``take_silent`` has something to do; infinity if never."""
        if not self._races:
            return math.inf
        return min(race.due for race in self._races.values())
