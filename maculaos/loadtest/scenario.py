"""What one load test does: how many nodes and programs, how much, how long, and what goes wrong."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Final

from maculaos.errors import UsageError
from maculaos.loadtest.faults import Fault, Kind
from maculaos.loadtest.stamps import STAMP_SIZE

NODES_MAX: Final = 200
PROGRAMS_MAX: Final = 1000
RATE_MAX: Final = 1_000_000.0
SIZE_MAX: Final = 8 * 1024 * 1024
DURATION_MAX_S: Final = 86_400.0
# What is kept to check by: so many bytes of each event, and one more of each delivery.
_EVENT_BYTES: Final = 9
MEMORY_MAX_BYTES: Final = 1 << 30
# As quick as it goes, it is not known before how much that will be; more than this it is not.
_FREE_RATE: Final = 200_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One load test; nodes are called n1, n2, ... unless they run already."""

    nodes: int = 2
    publishers: int = 1
    subscribers: int = 1
    # Publishers and subscribers are dealt out to topics in turn.
    topics: int = 1
    # Events per second of all publishers together; 0: as quick as it goes.
    rate: float = 1000.0
    size: int = 100
    duration_s: float = 10.0
    warmup_s: float = 1.0
    acknowledge: bool = False
    faults: tuple[Fault, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for what cannot be run."""
        _check("nodes", self.nodes, 1, NODES_MAX)
        _check("publishers", self.publishers, 1, PROGRAMS_MAX)
        _check("subscribers", self.subscribers, 1, PROGRAMS_MAX)
        _check("topics", self.topics, 1, min(self.publishers, self.subscribers))
        _check("rate", self.rate, 0, RATE_MAX)
        _check("size", self.size, STAMP_SIZE, SIZE_MAX)
        _check("duration", self.duration_s, 0.1, DURATION_MAX_S)
        _check("warm-up", self.warmup_s, 0, DURATION_MAX_S)
        published = (self.rate or _FREE_RATE) * self.duration_s
        if published * (self.fan_out + _EVENT_BYTES) > MEMORY_MAX_BYTES:
            what = f"{published:,.0f} events are too many to keep count of"
            raise UsageError(what, "give a lower --rate, or a shorter --duration")
        for fault in self.faults:
            self._check_fault(fault)
        self._check_overlaps()

    @property
    def fan_out(self) -> float:
        """To how many subscribers an event goes, on average."""
        return self.subscribers / self.topics

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def has_loss(self) -> bool:
        """Whether datagrams are to be thrown away at some time."""
        return any(fault.kind is Kind.LOSS for fault in self.faults)

    def in_words(self) -> str:
        """What is done, in one sentence."""
        programs = (
            (self.nodes, "node"),
            (self.publishers, "publisher"),
            (self.subscribers, "subscriber"),
            (self.topics, "topic"),
        )
        many = ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in programs)
        pace = f"{self.rate:g} events/s" if self.rate else "as quickly as it goes"
        word = "at least once (acknowledged)" if self.acknowledge else "at most once"
        return f"{many}; {self.size} B, {pace}, for {self.duration_s:g} s; {word}."

    def listens(self) -> tuple[tuple[int, ...], ...]:
        """For each publisher, the subscribers of its topic."""
        every = range(self.subscribers)
        return tuple(
            tuple(each for each in every if each % self.topics == number % self.topics)
            for number in range(self.publishers)
        )

    def publisher_place(self, number: int) -> int:
        """At which node that publisher is: the first ones, in turn."""
        return number % self.nodes

    def subscriber_place(self, number: int) -> int:
        """At which node that subscriber is: the last ones, in turn."""
        return (self.nodes - 1 - number) % self.nodes

    def _check_fault(self, fault: Fault) -> None:
        if fault.node not in self.names:
            raise UsageError(f"{fault}: there is no node {fault.node}", f"name {_span(self.names)}")
        last_s = fault.at_s if math.isinf(fault.until_s) else fault.until_s
        if last_s > self.duration_s:
            what = f"{fault} is not over within the {self.duration_s:g} s of the run"
            raise UsageError(what, "let the run last longer")

    def _check_overlaps(self) -> None:
        """One fault of a node may not undo another, nor need a node that the other has taken."""
        for first, second in itertools.combinations(sorted(self.faults, key=_beginning), 2):
            kinds = {first.kind, second.kind}
            is_clash = len(kinds) == 1 or Kind.KILL in kinds
            if is_clash and first.node == second.node and second.at_s <= first.until_s:
                what = f"{first} and {second} overlap"
                raise UsageError(what, "let one end before the other begins")


def _beginning(fault: Fault) -> float:
    return fault.at_s


def _check(what: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise UsageError(f"{what}: {value:g} is out of range", f"give {lowest:g} to {highest:g}")


def _span(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
