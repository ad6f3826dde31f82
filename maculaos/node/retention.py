"""Retained events of this node's clients, and copies of those that others retain.

A node that wants a topic is sent what is retained of it when its wish is heard of; it keeps a copy
of each, and of each that comes later, for its own later subscribers. So nobody is asked twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Raw

from maculaos.identity import NodeId
from maculaos.pubsub.mailbox import Run
from maculaos.pubsub.retained import Kept, RetainedEvents

if TYPE_CHECKING:
    from collections.abc import Iterable

    from maculaos.node.deliveries import Deliveries
    from maculaos.pubsub.realm_interest import Wish
    from maculaos.swim.members import Members
    from maculaos.wire.events import Events

# Events, and bytes of their payloads: of this node's clients, and as many of others.
_EVENTS: Final = 10_000
_BYTES: Final = 32 * 1024 * 1024


class Retention:
    """What the node ``me`` retains; times are monotonic seconds."""

    def __init__(self, me: NodeId, members: Members, deliveries: Deliveries) -> None:
        self._me = me
        self._members = members
        self._deliveries = deliveries
        self.own = RetainedEvents(_EVENTS, _BYTES)
        self.others = RetainedEvents(_EVENTS, _BYTES)

    def keep(self, run: Events, now: float) -> None:
        """A client of this node publishes something that is to be retained."""
        self.own.put(_kept(run, now))

    def copy(self, run: Events, now: float) -> bool:
        """Another node retains an event; false if this node has had it."""
        if self.others.sequence_of(run.topic, run.publisher) == _last_of(run):
            return False
        audience = self._deliveries.audience(run.topic)
        if audience.plain:
            self.others.put(_kept(run, now))
        return True

    def runs_for(self, pattern: str, now: float) -> list[Run]:
        """What a new subscription of this node is handed first."""
        theirs = self.others.matching(pattern, now)
        there = [each for each in theirs if self._members.is_present(NodeId(each.publisher))]
        return [_run(each) for each in (*self.own.matching(pattern, now), *there)]

    def for_wishes(self, wishes: Iterable[Wish], now: float) -> list[Kept]:
        """What a node is sent that wants these; shared subscriptions get nothing old."""
        if not len(self.own):
            return []
        return self.own.matching_any([pattern for pattern, group, _ in wishes if not group], now)

    def unwanted(self, pattern: str, now: float) -> None:
        """A subscription ended: copies of what nobody here wants would grow old, and go."""
        if len(self.others):
            for kept in self.others.matching(pattern, now):
                if not self._deliveries.audience(kept.topic).plain:
                    self.others.remove(kept.topic, kept.publisher)


def _last_of(run: Events) -> int:
    return run.sequence + len(run.payloads) - 1


def _kept(run: Events, now: float) -> Kept:
    return Kept(
        run.topic,
        run.publisher,
        _last_of(run),
        # A copy: a view would keep the whole frame that it came in.
        Raw(bytes(run.payloads[-1])),
        run.priority,
        now + run.retain_ms / 1000,
    )


def _run(kept: Kept) -> Run:
    return Run(
        kept.topic,
        kept.publisher,
        kept.sequence,
        (kept.payload,),
        kept.priority,
        is_retained=True,
    )
