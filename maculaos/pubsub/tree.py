"""Many patterns matched at once: a tree of segments, walked along the segments of a topic.

Exact topics are looked up whole; only patterns with ``*`` stand in the tree. A walk visits at most
two branches for each one it came from (the segment itself, and ``*``), and none that no pattern
goes through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from maculaos.pubsub.patterns import ONE, REST

if TYPE_CHECKING:
    from collections.abc import Iterator

V = TypeVar("V")


class _Branch(Generic[V]):
    """Where patterns with the same first segments go on."""

    __slots__ = ("children", "here", "rest")

    def __init__(self) -> None:
        # By segment; ``*`` among them.
        self.children: dict[str, _Branch[V]] = {}
        # Of patterns that end here, and of those that end here with ``**``. Dicts, not sets: they
        # keep their order under every hash seed.
        self.here: dict[V, None] = {}
        self.rest: dict[V, None] = {}

    @property
    def is_bare(self) -> bool:
        """Whether no pattern goes through here any more."""
        return not (self.children or self.here or self.rest)


class PatternTree(Generic[V]):
    """Values under patterns; each pattern holds a value once. It checks no pattern."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[V, None]] = {}
        self._root: _Branch[V] = _Branch()

    def add(self, pattern: str, value: V) -> None:
        """Put ``value`` under ``pattern``."""
        if ONE not in pattern:
            self._exact.setdefault(pattern, {})[value] = None
            return
        *_, last = _walk(self._root, _trunk(pattern))
        (last.rest if pattern.endswith(REST) else last.here)[value] = None

    def remove(self, pattern: str, value: V) -> None:
        """Take ``value`` away from ``pattern``, if it is there."""
        if ONE not in pattern:
            held = self._exact.get(pattern, {})
            held.pop(value, None)
            if not held:
                self._exact.pop(pattern, None)
            return
        segments = _trunk(pattern)
        way = list(_walk(self._root, segments))
        (way[-1].rest if pattern.endswith(REST) else way[-1].here).pop(value, None)
        for above, segment in zip(reversed(way[:-1]), reversed(segments), strict=True):
            if not above.children[segment].is_bare:
                break
            del above.children[segment]

    def match(self, topic: str) -> list[V]:
        """The values of every pattern that means ``topic``; one of two patterns comes twice."""
        found = list(self._exact.get(topic, ()))
        if self._root.is_bare:
            return found
        level = [self._root]
        for segment in topic.split("."):
            further = []
            for branch in level:
                found += branch.rest
                below = branch.children.get
                further += [branch for branch in (below(segment), below(ONE)) if branch]
            level = further
            if not level:
                return found
        for branch in level:
            found += branch.here
        return found


def _trunk(pattern: str) -> list[str]:
    """The segments of a pattern, without a last ``**``."""
    segments = pattern.split(".")
    return segments[:-1] if segments[-1] == REST else segments


def _walk(root: _Branch[V], segments: list[str]) -> Iterator[_Branch[V]]:
    """The branches along these segments, made where they are missing; the root first."""
    branch = root
    yield branch
    for segment in segments:
        below = branch.children.get(segment)
        if below is None:
            below = branch.children[segment] = _Branch()
        branch = below
        yield branch


# Topics whose matches are remembered; a program seldom uses more at a time.
_REMEMBERED: Final = 4096


class TopicMemo(Generic[V]):
    """What was worked out for a topic, until something changes that it depends on."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._known: dict[str, V] = {}
        self.get = self._known.get

    def put(self, topic: str, value: V) -> V:
        """Remember ``value`` and return it; when full, everything else is forgotten."""
        if len(self._known) >= self._limit:
            self._known.clear()
        self._known[topic] = value
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()
