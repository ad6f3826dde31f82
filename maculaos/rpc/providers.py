"""Providers: which sources answer which methods, taken in turn; a source is a number."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from maculaos.errors import MaculaError
from maculaos.rpc.methods import check_method

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


class TooManyMethods(MaculaError):
    """More registrations than this table may hold."""


class Providers:
    """Registrations of numbered sources, looked up by method.

    At most ``limit`` of them, and at most ``share`` of one source.
    """

    def __init__(self, limit: int, share: int | None = None) -> None:
        self._limit = limit
        self._share = limit if share is None else share
        self._size = 0
        self._sources_of: dict[str, deque[int]] = {}
        self._methods_of: dict[int, dict[str, None]] = {}
        # Sources that answer more than there was room for.
        self._cut_short: set[int] = set()

    def __len__(self) -> int:
        return self._size

    @property
    def methods(self) -> Collection[str]:
        """Every method that somebody answers."""
        return self._sources_of.keys()

    @property
    def is_partial(self) -> bool:
        """Whether some source that is here answers methods that found no room."""
        return bool(self._cut_short)

    def choose(self, method: str, avoided: Collection[int] = ()) -> int | None:
        """The source whose turn it is; ``None`` if nobody else answers ``method``."""
        turns = self._sources_of.get(method)
        if not turns:
            return None
        for _ in range(len(turns)):
            chosen = turns[0]
            turns.rotate(-1)
            if not avoided or chosen not in avoided:
                return chosen
        return None

    def sources(self, method: str) -> Sequence[int]:
        """Everybody who answers ``method``, in no order that means anything; do not keep it."""
        return self._sources_of.get(method, ())

    def methods_of(self, source: int) -> tuple[str, ...]:
        """What ``source`` answers."""
        return tuple(self._methods_of.get(source, ()))

    def add(self, source: int, methods: Iterable[str]) -> tuple[str, ...]:
        """Register ``source``; return the methods that nobody answered before.

        All or nothing: raises ``InvalidMethod`` or ``TooManyMethods`` and changes nothing.
        """
        added = self._unheld(source, methods)
        if self._size + len(added) > self._limit:
            raise TooManyMethods(f"more than {self._limit} registered methods")
        if len(added) > self._room(source):
            raise TooManyMethods(f"more than {self._share} registered methods of one source")
        return self._put(source, added)

    def add_some(self, source: int, methods: Iterable[str]) -> int:
        """Register ``source`` as far as there is room; return how many methods found none.

        Raises ``InvalidMethod`` and changes nothing.
        """
        added = self._unheld(source, methods)
        room = self._room(source)
        self._put(source, added[:room])
        left_out = len(added[room:])
        if left_out:
            self._cut_short.add(source)
        return left_out

    def remove(self, source: int, methods: Iterable[str]) -> tuple[str, ...]:
        """Unregister ``source``; return the methods that nobody answers any more."""
        held = self._methods_of.get(source, {})
        removed = [method for method in dict.fromkeys(methods) if method in held]
        for method in removed:
            del held[method]
            self._sources_of[method].remove(source)
        self._size -= len(removed)
        if not held:
            self._methods_of.pop(source, None)
        orphaned = tuple(method for method in removed if not self._sources_of[method])
        for method in orphaned:
            del self._sources_of[method]
        return orphaned

    def drop(self, source: int) -> tuple[str, ...]:
        """Forget ``source``; return the methods that nobody answers any more."""
        self._cut_short.discard(source)
        return self.remove(source, self.methods_of(source))

    def _unheld(self, source: int, methods: Iterable[str]) -> tuple[str, ...]:
        """Each of ``methods`` that is not registered for ``source``, once."""
        held = self._methods_of.get(source, {})
        return tuple(dict.fromkeys(check_method(each) for each in methods if each not in held))

    def _room(self, source: int) -> int:
        """How many methods more may be registered for ``source``."""
        held = len(self._methods_of.get(source, ()))
        return max(0, min(self._limit - self._size, self._share - held))

    def _put(self, source: int, added: tuple[str, ...]) -> tuple[str, ...]:
        fresh = tuple(method for method in added if method not in self._sources_of)
        for method in added:
            self._sources_of.setdefault(method, deque()).append(source)
            self._methods_of.setdefault(source, {})[method] = None
        self._size += len(added)
        return fresh
