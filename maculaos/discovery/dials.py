"""Dials: one small state machine for each address worth dialling.

    waiting --due--> dialling --link up--> linked --link lost--> waiting
                         \\--failed or no word--> waiting, later than before

The wait has full jitter: anything between nothing and a ceiling that doubles with every failure
(M. Brooker, "Exponential Backoff And Jitter", AWS 2015). An address is never given up by itself,
so that a partition heals however long it was. It says when to dial; it dials nobody.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random

    from maculaos.settings import LinkSettings

# A link that lasted this long was a good one: the next loss starts from the shortest wait.
STABLE_AFTER_S: Final = 10.0
# Dials whose outcome nobody reports are given up after so many handshake timeouts.
_PATIENCE: Final = 2


class Phase(Enum):
    """Where an address stands."""

    WAITING = auto()
    DIALLING = auto()
    LINKED = auto()


@dataclass(slots=True)
class Attempt:
    """One address: ``due`` is when to dial it, or to give the dial up (monotonic seconds)."""

    address: str
    due: float
    phase: Phase = Phase.WAITING
    failures: int = 0
    linked_at: float = 0.0


class Dials:
    """At most ``limit`` addresses; beyond it the one that failed most often makes room."""

    def __init__(self, settings: LinkSettings, limit: int, rng: random.Random) -> None:
        self._settings = settings
        self._limit = limit
        self._rng = rng
        self._attempts: dict[str, Attempt] = {}
        # Entries that no longer match their attempt are skipped when they come up.
        self._queue: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._attempts)

    def __contains__(self, address: object) -> bool:
        return address in self._attempts

    def phase(self, address: str) -> Phase | None:
        """Where that address stands; ``None`` if it is not wanted."""
        attempt = self._attempts.get(address)
        return attempt.phase if attempt else None

    def want(self, address: str, due: float) -> None:
        """Dial ``address`` at ``due``, or when it is due already if that is sooner."""
        attempt = self._attempts.get(address)
        if attempt is None:
            self._make_room()
            attempt = self._attempts[address] = Attempt(address, math.inf)
        if attempt.phase is Phase.WAITING and due < attempt.due:
            self._schedule(attempt, Phase.WAITING, due)

    def unwant(self, address: str) -> None:
        """Dial ``address`` no more."""
        self._attempts.pop(address, None)

    def failed(self, address: str, now: float) -> int:
        """A dial came to nothing; return how many did in a row (0: nobody wanted it)."""
        attempt = self._attempts.get(address)
        if attempt is None or attempt.phase is not Phase.DIALLING:
            return 0
        self._back_off(attempt, now)
        return attempt.failures

    def linked(self, address: str, now: float) -> None:
        """A link to whoever listens at ``address`` is up."""
        attempt = self._attempts.get(address)
        if attempt is not None and attempt.phase is not Phase.LINKED:
            attempt.linked_at = now
            self._schedule(attempt, Phase.LINKED, math.inf)

    def lost(self, address: str, now: float) -> None:
        """The link to whoever listens at ``address`` is gone: dial again."""
        attempt = self._attempts.get(address)
        if attempt is None or attempt.phase is not Phase.LINKED:
            return
        if now - attempt.linked_at >= STABLE_AFTER_S:
            attempt.failures = 0
        self._back_off(attempt, now)

    def take_due(self, now: float, room: int) -> list[str]:
        """The addresses to dial now, at most ``room``; those beyond wait for the next turn."""
        dialled: list[str] = []
        while self.next_deadline() <= now:
            attempt = self._attempts[heapq.heappop(self._queue)[1]]
            if attempt.phase is Phase.DIALLING:
                self._back_off(attempt, now)
            elif len(dialled) < room:
                self._schedule(attempt, Phase.DIALLING, now + self._patience_s)
                dialled.append(attempt.address)
            else:
                self._schedule(attempt, Phase.WAITING, now + self._settings.handshake_timeout_s)
        return dialled

    def count_dialling(self) -> int:
        """How many dials are under way."""
        return sum(each.phase is Phase.DIALLING for each in self._attempts.values())

    def next_deadline(self) -> float:
        """When ``take_due`` has something to do; infinity if never."""
        while self._queue:
            due, address = self._queue[0]
            attempt = self._attempts.get(address)
            if attempt is not None and attempt.due == due:
                return due
            heapq.heappop(self._queue)
        return math.inf

    @property
    def _patience_s(self) -> float:
        return _PATIENCE * self._settings.handshake_timeout_s

    def _back_off(self, attempt: Attempt, now: float) -> None:
        attempt.failures += 1
        ceiling_s = self._settings.reconnect_ceiling_s(attempt.failures)
        # Never at once: an address that fails without delay must not keep the node busy.
        floor_s = self._settings.reconnect_base_s / 10
        wait_s = max(floor_s, self._rng.uniform(0, ceiling_s))
        self._schedule(attempt, Phase.WAITING, now + wait_s)

    def _schedule(self, attempt: Attempt, phase: Phase, due: float) -> None:
        attempt.phase, attempt.due = phase, due
        if due < math.inf:
            heapq.heappush(self._queue, (due, attempt.address))

    def _make_room(self) -> None:
        if len(self._attempts) < self._limit:
            return
        idle = (each for each in self._attempts.values() if each.phase is not Phase.LINKED)
        worst = max(idle, key=lambda each: each.failures, default=None)
        if worst is not None:
            del self._attempts[worst.address]
