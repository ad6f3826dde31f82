"""Retained events: the last payload of a topic, kept for who subscribes later, until it expires.

A node keeps what its own clients publish, and a copy of what others retain as long as it wants the
topic. Each publishing node has its own last payload of a topic. Payload nil takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from maculaos.pubsub.patterns import is_exact, matches
from maculaos.pubsub.tree import PatternTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# MessagePack's nil.
NIL: Final = b"\xc0"


@dataclass(frozen=True, slots=True)
class Kept:
    """One payload; ``expires_at`` in monotonic seconds."""

    topic: str
    publisher: bytes
    sequence: int
    payload: Raw
    priority: int
    expires_at: float


class RetainedEvents:
    """At most ``limit`` of them and ``limit_bytes`` of payload; the oldest gives way."""

    def __init__(self, limit: int, limit_bytes: int) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._by_topic: dict[str, dict[bytes, Kept]] = {}
        # The order in which they came.
        self._order: dict[tuple[str, bytes], None] = {}

    def __len__(self) -> int:
        return len(self._order)

    def sequence_of(self, topic: str, publisher: bytes) -> int | None:
        """Which event of that publisher is kept of a topic."""
        kept = self._by_topic.get(topic, {}).get(publisher)
        return None if kept is None else kept.sequence

    def put(self, kept: Kept) -> None:
        """Keep that payload in the place of the one before it; nil is not kept."""
        self.remove(kept.topic, kept.publisher)
        if bytes(kept.payload) == NIL:
            return
        self._by_topic.setdefault(kept.topic, {})[kept.publisher] = kept
        self._order[kept.topic, kept.publisher] = None
        self._bytes += len(kept.payload)
        while len(self._order) > self._limit or self._bytes > self._limit_bytes:
            self.remove(*next(iter(self._order)))

    def remove(self, topic: str, publisher: bytes) -> None:
        """Keep no payload of that topic and publisher."""
        by_publisher = self._by_topic.get(topic, {})
        kept = by_publisher.pop(publisher, None)
        if kept is None:
            return
        if not by_publisher:
            del self._by_topic[topic]
        del self._order[topic, publisher]
        self._bytes -= len(kept.payload)

    def matching(self, pattern: str, now: float) -> list[Kept]:
        """What is kept of the topics that ``pattern`` means; what expired is dropped."""
        if is_exact(pattern):
            found = list(self._by_topic.get(pattern, {}).values())
        else:
            found = [each for each in self._all() if matches(pattern, each.topic)]
        for late in [each for each in found if each.expires_at <= now]:
            self.remove(late.topic, late.publisher)
        return [each for each in found if each.expires_at > now]

    def matching_any(self, patterns: Iterable[str], now: float) -> list[Kept]:
        """What is kept of the topics that some of ``patterns`` mean, each once.

        A peer may name a hundred thousand: each topic walks the tree of them once.
        """
        wanted: PatternTree[None] = PatternTree()
        for pattern in patterns:
            wanted.add(pattern, None)
        return [each for each in self._all() if each.expires_at > now and wanted.match(each.topic)]

    def _all(self) -> Iterator[Kept]:
        for by_publisher in self._by_topic.values():
            yield from by_publisher.values()
