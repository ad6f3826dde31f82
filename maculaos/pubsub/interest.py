"""Interest: which sources want which topics; a source is a number (of a client, or of a link)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError
from maculaos.pubsub.topics import check_topic

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_NOBODY: Final[dict[int, None]] = {}


class TooManySubscriptions(MaculaError):
    """More subscriptions than this table may hold."""


class Interest:
    """Subscriptions of numbered sources, looked up by topic.

    At most ``limit`` of them, and at most ``share`` of one source.
    """

    def __init__(self, limit: int, share: int | None = None) -> None:
        self._limit = limit
        self._share = limit if share is None else share
        self._size = 0
        # Dicts, not sets: they keep their order under every hash seed.
        self._sources_of: dict[str, dict[int, None]] = {}
        self._topics_of: dict[int, dict[str, None]] = {}

    def __len__(self) -> int:
        return self._size

    @property
    def topics(self) -> Collection[str]:
        """Every topic that somebody wants."""
        return self._sources_of.keys()

    def sources(self, topic: str) -> Collection[int]:
        """Who wants ``topic``."""
        return self._sources_of.get(topic, _NOBODY)

    def add(self, source: int, topics: Iterable[str]) -> tuple[str, ...]:
        """Subscribe ``source``; return the topics that nobody wanted before.

        All or nothing: raises ``InvalidTopic`` or ``TooManySubscriptions`` and changes nothing.
        """
        held = self._topics_of.get(source, {})
        added = dict.fromkeys(check_topic(topic) for topic in topics if topic not in held)
        if self._size + len(added) > self._limit:
            raise TooManySubscriptions(f"more than {self._limit} subscriptions")
        if len(held) + len(added) > self._share:
            raise TooManySubscriptions(f"more than {self._share} subscriptions of one source")
        fresh = tuple(topic for topic in added if topic not in self._sources_of)
        for topic in added:
            self._sources_of.setdefault(topic, {})[source] = None
            self._topics_of.setdefault(source, {})[topic] = None
        self._size += len(added)
        return fresh

    def remove(self, source: int, topics: Iterable[str]) -> tuple[str, ...]:
        """Unsubscribe ``source``; return the topics that nobody wants any more."""
        held = self._topics_of.get(source, {})
        removed = [topic for topic in dict.fromkeys(topics) if topic in held]
        for topic in removed:
            del held[topic]
            del self._sources_of[topic][source]
        self._size -= len(removed)
        if not held:
            self._topics_of.pop(source, None)
        orphaned = tuple(topic for topic in removed if not self._sources_of[topic])
        for topic in orphaned:
            del self._sources_of[topic]
        return orphaned

    def drop(self, source: int) -> tuple[str, ...]:
        """Forget ``source``; return the topics that nobody wants any more."""
        return self.remove(source, tuple(self._topics_of.get(source, ())))
