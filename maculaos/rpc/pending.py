"""Calls that wait for a result: numbered by this node, bounded, each with a deadline.

A call number only means something on one link or to one client. This node gives each call a
number of its own towards the provider and keeps the caller's number for the way back.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Answered calls stay in the deadline heap until it holds this many more than there are calls.
_SLACK: Final = 64


class Side(IntEnum):
    """Where a caller or provider is."""

    CLIENT = 0
    LINK = 1


class Party(NamedTuple):
    """A caller or provider: a client or a link of this node, by its number."""

    side: Side
    number: int


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call on its way; ``deadline`` is in monotonic seconds."""

    number: int
    origin: Party
    origin_call: int
    provider: Party
    deadline: float


class PendingCalls:
    """At most ``limit`` calls; one origin may hold half of them, so that none starves the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(1, limit // 2)
        self._last_number = 0
        self._calls: dict[int, PendingCall] = {}
        self._of_origin: dict[Party, dict[int, None]] = {}
        self._of_provider: dict[Party, dict[int, None]] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def open(
        self, origin: Party, origin_call: int, provider: Party, deadline: float
    ) -> PendingCall | None:
        """Wait for ``provider`` to answer ``origin``; ``None`` if too many calls wait already."""
        own = self._of_origin.setdefault(origin, {})
        if len(self._calls) >= self._limit or len(own) >= self._share:
            return None
        self._last_number += 1
        call = PendingCall(self._last_number, origin, origin_call, provider, deadline)
        self._calls[call.number] = call
        own[call.number] = None
        self._of_provider.setdefault(provider, {})[call.number] = None
        heapq.heappush(self._deadlines, (deadline, call.number))
        return call

    def answer(self, number: int, provider: Party) -> PendingCall | None:
        """Take the call that ``provider`` answers; ``None`` if it waits for no such answer."""
        call = self._calls.get(number)
        if call is None or call.provider != provider:
            return None
        self._close(call)
        return call

    def expire(self, now: float) -> list[PendingCall]:
        """Take the calls whose deadline has passed."""
        expired: list[PendingCall] = []
        while self.next_deadline() <= now:
            call = self._calls[heapq.heappop(self._deadlines)[1]]
            self._close(call)
            expired.append(call)
        return expired

    def drop(self, party: Party) -> list[PendingCall]:
        """``party`` is gone: forget what it asked, take and return what it was to answer."""
        self._close_all(self._of_origin.pop(party, ()))
        return self._close_all(self._of_provider.pop(party, ()))

    def next_deadline(self) -> float:
        """When the first call expires; infinity if none waits."""
        while self._deadlines and self._deadlines[0][1] not in self._calls:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def _close_all(self, numbers: Iterable[int]) -> list[PendingCall]:
        calls = [self._calls[number] for number in tuple(numbers)]
        for call in calls:
            self._close(call)
        return calls

    def _close(self, call: PendingCall) -> None:
        del self._calls[call.number]
        _discard(self._of_origin, call.origin, call.number)
        _discard(self._of_provider, call.provider, call.number)
        if len(self._deadlines) > 2 * len(self._calls) + _SLACK:
            self._deadlines = [(held.deadline, held.number) for held in self._calls.values()]
            heapq.heapify(self._deadlines)


def _discard(index: dict[Party, dict[int, None]], party: Party, number: int) -> None:
    """Take one call out of an index; a party without calls leaves it."""
    numbers = index.get(party)
    if numbers is None:
        return
    numbers.pop(number, None)
    if not numbers:
        del index[party]
