"""Runs: the events that one publication becomes, numbered and signed by the node of its publisher.

The numbers of a node rise, also over its lives as far as its clock does; they begin where nobody
can guess, so that only who has seen a run can confirm it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from maculaos.pubsub.mailbox import Run, Taking
from maculaos.wire.events import Events

if TYPE_CHECKING:
    import random

    from maculaos.identity import NodeId
    from maculaos.pubsub.retained import Kept
    from maculaos.wire.events import Hop, Post

# So many numbers for each second between two lives: more than a node can publish.
_PER_SECOND_BITS: Final = 24


class EventSeal(Protocol):
    """Signatures of events, made as this node and checked as of any other."""

    def sign(self, run: Events) -> Events:
        """The same run, signed by its publisher, this node."""
        ...

    def is_genuine(self, run: Events) -> bool:
        """Whether the publisher of a run signed it."""
        ...


class Runs:
    """Makes the runs of the node ``me``, signed if it ``signs``."""

    def __init__(self, me: NodeId, rng: random.Random, *, signs: bool) -> None:
        self._me = me
        self._signs = signs
        self._first = rng.getrandbits(_PER_SECOND_BITS)
        self._last = self._first
        # Which life of its publisher an acknowledged run is of.
        self._life = rng.getrandbits(32) | 1
        self.seal: EventSeal | None = None

    def set_wall_clock(self, wall: float) -> None:
        """Begin behind the numbers of earlier lives; only before the first run."""
        if self._last == self._first:
            self._last = self._first + (max(0, int(wall)) << _PER_SECOND_BITS)
            self._first = -1

    def make(self, post: Post) -> Events:
        """The run that a client publishes."""
        run = Events(
            post.topic,
            self._me,
            self._number(len(post.payloads)),
            post.payloads,
            b"",
            0,
            post.acknowledge,
            "",
            post.priority,
            post.ttl_ms,
            False,
            (),
            b"",
            b"",
            0,
            self._life if post.acknowledge else 0,
            post.retain_ms,
        )
        return self._signed(run) if self._signs else run

    def traced(self, post: Post, here: Hop) -> Events:
        """A run that is delivered to nobody, and begins its way ``here``."""
        number = self._number(1)
        run = Events(post.topic, self._me, number, (), priority=post.priority, trace=(here,))
        return self._signed(run)

    def slice(self, run: Events, group: str, part: slice) -> Events:
        """The part of a run that one member of a group gets."""
        if len(run.payloads) == part.stop - part.start:
            return msgspec.structs.replace(run, group=group)
        payloads, sequence = run.payloads[part], run.sequence + part.start
        piece = msgspec.structs.replace(run, payloads=payloads, sequence=sequence, group=group)
        return self._signed(piece)

    def anew(self, run: Events) -> Events:
        """The same run under a new number, for another target."""
        number = self._number(len(run.payloads))
        return self._signed(msgspec.structs.replace(run, sequence=number, after=0))

    def retained(self, kept: Kept, now: float) -> Events:
        """What is kept of a topic, for who comes later."""
        run = Events(
            kept.topic,
            self._me,
            kept.sequence,
            (kept.payload,),
            priority=kept.priority,
            is_retained=True,
            retain_ms=max(1, round((kept.expires_at - now) * 1000)),
        )
        return self._signed(run)

    def _number(self, count: int) -> int:
        first = self._last + 1
        self._last += count
        self._first = -1
        return first

    def _signed(self, run: Events) -> Events:
        return self.seal.sign(run) if self._signs and self.seal is not None else run


def for_clients(run: Events, now: float, taking: Taking | None = None) -> Run:
    """A run as it is handed to the clients of this node."""
    expires_at = now + run.ttl_ms / 1000 if run.ttl_ms else math.inf
    return Run(
        run.topic,
        run.publisher,
        run.sequence,
        run.payloads,
        run.priority,
        expires_at,
        run.is_retained,
        taking,
    )


def left_ms(ttl_ms: int, expires_at: float, now: float) -> int:
    """What is left of a time to live; 0 for ever."""
    return max(1, round((expires_at - now) * 1000)) if ttl_ms else 0
