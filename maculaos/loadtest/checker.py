"""The checker: which events came to whom, and which were lost, doubled or out of order.

It keeps one byte for each event and each subscriber that is to get it. What it is told is all it
knows: it neither sends nor listens.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Each pair counts up to here how often an event came.
_OFTEN: Final = 255


class Fate(IntEnum):
    """What became of an event at its publisher."""

    # On its way, and nothing was heard of it.
    OPEN = 0
    # Its publisher was told that it is delivered, or asked for no such word.
    TAKEN = 1
    # Its publisher was told that it is not delivered, or not known to be.
    REFUSED = 2


@dataclass(frozen=True, slots=True)
class Loss:
    """One event that never came to one subscriber; ``due_s`` is when it was meant to go."""

    publisher: int
    subscriber: int
    sequence: int
    due_s: float
    # The subscriber was away then: it had no connection, or nothing had come to it since.
    is_away: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """All subscribers together; ``expected`` is what was taken, once for each who is to get it."""

    published: int
    refused: int
    expected: int
    delivered: int
    lost: int
    # Of those, as many were lost while the subscriber was away.
    away: int
    # Deliveries beyond the first one.
    duplicates: int
    # First deliveries behind a later event of the same publisher.
    disordered: int
    # Delivered although the publisher was told of a failure: allowed, and worth knowing.
    refused_yet_delivered: int
    # Of no event that was published here.
    foreign: int


class Checker:
    """``listens[p]`` are the subscribers that are to get what publisher ``p`` says."""

    def __init__(self, listens: Sequence[Sequence[int]]) -> None:
        self._listens = listens
        self._fates = [bytearray() for _ in listens]
        self._due = [array("d") for _ in listens]
        self._came = {(p, s): bytearray() for p, those in enumerate(listens) for s in those}
        self._last: dict[tuple[int, int], int] = {}
        # When the subscriber of a pair was away: from, and up to the first event that came again.
        self._absences: dict[tuple[int, int], list[tuple[float, float]]] = {}
        self.published = 0
        self.delivered = 0
        self.duplicates = 0
        self.disordered = 0
        self.foreign = 0

    def publish(self, publisher: int, due_s: float, fate: Fate = Fate.OPEN) -> int:
        """One more event goes out; returns its sequence number, from 0 for each publisher."""
        fates = self._fates[publisher]
        fates.append(fate)
        self._due[publisher].append(due_s)
        self.published += 1
        return len(fates) - 1

    def settle(self, publisher: int, sequence: int, fate: Fate) -> None:
        """What became of that event."""
        self._fates[publisher][sequence] = fate

    def leave(self, subscriber: int, at_s: float) -> None:
        """That subscriber has lost its connection; it is back with the first event that comes."""
        for pair in self._came:
            if pair[1] == subscriber:
                absences = self._absences.setdefault(pair, [])
                if not absences or absences[-1][1] < math.inf:
                    absences.append((at_s, math.inf))

    def take(self, subscriber: int, publisher: int, sequence: int, at_s: float = -math.inf) -> bool:
        """An event came at that time; whether it came for the first time."""
        pair = (publisher, subscriber)
        came = self._came.get(pair)
        if came is None or not 0 <= sequence < len(self._fates[publisher]):
            self.foreign += 1
            return False
        if sequence >= len(came):
            came.extend(bytes(sequence + 1 - len(came)))
        if came[sequence]:
            came[sequence] = min(_OFTEN, came[sequence] + 1)
            self.duplicates += 1
            return False
        came[sequence] = 1
        self.delivered += 1
        if sequence < self._last.get(pair, -1):
            self.disordered += 1
        else:
            self._last[pair] = sequence
        if pair in self._absences:
            self._return(pair, max(self._due[publisher][sequence], at_s))
        return True

    def losses(self) -> Iterator[Loss]:
        """Every event that was taken and never came, by publisher, subscriber and number."""
        for publisher, subscriber, sequence in self._missing(Fate.TAKEN):
            due_s = self._due[publisher][sequence]
            absences = self._absences.get((publisher, subscriber), ())
            is_away = any(since <= due_s < until for since, until in absences)
            yield Loss(publisher, subscriber, sequence, due_s, is_away)

    def is_complete(self) -> bool:
        """Whether everything that was published came to everyone, refused or not."""
        return self.delivered == sum(
            len(fates) * len(those) for fates, those in zip(self._fates, self._listens, strict=True)
        )

    def counts(self) -> Counts:
        """How it stands; events whose fate is open count as refused."""
        taken = [fates.count(Fate.TAKEN) for fates in self._fates]
        expected = sum(n * len(those) for n, those in zip(taken, self._listens, strict=True))
        lost = away = 0
        for loss in self.losses():
            lost += 1
            away += loss.is_away
        return Counts(
            published=self.published,
            refused=self.published - sum(taken),
            expected=expected,
            delivered=self.delivered,
            lost=lost,
            away=away,
            duplicates=self.duplicates,
            disordered=self.disordered,
            refused_yet_delivered=self.delivered - (expected - lost),
            foreign=self.foreign,
        )

    def _return(self, pair: tuple[int, int], at_s: float) -> None:
        """An event came then: one that waited for the subscriber does not date its return back."""
        absences = self._absences[pair]
        since, until = absences[-1]
        if at_s >= since and until == math.inf:
            absences[-1] = (since, at_s)

    def _missing(self, fate: Fate) -> Iterator[tuple[int, int, int]]:
        for (publisher, subscriber), came in self._came.items():
            fates = self._fates[publisher]
            find: Callable[[int, int], int] = fates.find
            sequence = find(fate, 0)
            while sequence >= 0:
                if sequence >= len(came) or not came[sequence]:
                    yield publisher, subscriber, sequence
                sequence = find(fate, sequence + 1)
