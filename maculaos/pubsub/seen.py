"""The seen-cache: an event is delivered once, however many ways it came.

Two generations of ids instead of a queue: when the young one is full it becomes the old one, and
the old one is dropped. Remembers at least the last ``limit`` ids and never more than twice that.
"""

from __future__ import annotations


class SeenCache:
    """Remembers (publisher, sequence) of recent events."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Sets are safe here: they are asked, never iterated.
        self._young: set[tuple[bytes, int]] = set()
        self._old: set[tuple[bytes, int]] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def is_new(self, publisher: bytes, sequence: int) -> bool:
        """Whether this event was not seen before; from now on it was."""
        key = (publisher, sequence)
        if key in self._young or key in self._old:
            return False
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, set()
        self._young.add(key)
        return True
