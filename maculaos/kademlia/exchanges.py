"""Requests that wait for an answer: numbered, each of one contact, each with a deadline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from maculaos.kademlia.contact import Contact


class Question(IntEnum):
    """What was asked."""

    PING = 0
    NODES = 1
    VALUES = 2
    STORE = 3


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request; ``job`` is the number of the lookup or placement that it is for, or 0."""

    number: int
    question: Question
    contact: Contact
    job: int
    deadline: float


class Exchanges:
    """All wait equally long, so that the order of sending is the order of deadlines."""

    def __init__(self, timeout_s: float, slow_after_s: float) -> None:
        self._timeout_s = timeout_s
        # An answer that is this near to its deadline is slow.
        self._slow_margin_s = timeout_s - slow_after_s
        self._last_number = 0
        self._waiting: dict[int, Exchange] = {}
        # Those of them that are not slow.
        self._prompt: dict[int, Exchange] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def open(self, question: Question, contact: Contact, job: int, now: float) -> int:
        """Wait for ``contact`` to answer; the number of the request."""
        self._last_number += 1
        number = self._last_number
        exchange = Exchange(number, question, contact, job, now + self._timeout_s)
        self._waiting[number] = self._prompt[number] = exchange
        return number

    def answer(self, number: int, question: Question, position: int) -> Exchange | None:
        """Take the request that the node at ``position`` answers; ``None`` if there is none."""
        exchange = self._waiting.get(number)
        if exchange is None or exchange.question is not question:
            return None
        if exchange.contact.position != position:
            return None
        return self.take(number)

    def take(self, number: int) -> Exchange | None:
        """Take the request of that number, which will not be answered."""
        self._prompt.pop(number, None)
        return self._waiting.pop(number, None)

    def slow(self, now: float) -> list[Exchange]:
        """The requests that have become slow; each is told once, and still waits."""
        slow: list[Exchange] = []
        while _first(self._prompt) - self._slow_margin_s <= now:
            slow.append(self._prompt.pop(next(iter(self._prompt))))
        return slow

    def expire(self, now: float) -> list[Exchange]:
        """Take the requests whose deadline has passed."""
        expired: list[Exchange] = []
        while _first(self._waiting) <= now:
            number = next(iter(self._waiting))
            self._prompt.pop(number, None)
            expired.append(self._waiting.pop(number))
        return expired

    def next_deadline(self) -> float:
        """When the first request becomes slow or expires; infinity if none waits."""
        return min(_first(self._prompt) - self._slow_margin_s, _first(self._waiting))


def _first(exchanges: dict[int, Exchange]) -> float:
    """The earliest deadline."""
    for exchange in exchanges.values():
        return exchange.deadline
    return math.inf
