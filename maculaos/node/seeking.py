"""Calls whose provider is looked for in the distributed table, and what was found there.

A provider that was found is called for a while without looking again, and no longer once it
says that it answers the method no more.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from maculaos.kademlia.methods import MethodRegistry
from maculaos.rpc.pending import Party
from maculaos.wire.messages import RpcCall

if TYPE_CHECKING:
    from maculaos.kademlia.requests import ValueFound
    from maculaos.node.directory import Directory
    from maculaos.node.paths import Paths
    from maculaos.rpc.providers import Providers
    from maculaos.swim.members import Members

# How long a provider that was found is called before it is looked for again.
KEEP_S: Final = 60.0
# So many providers are enough for a call, and to choose from for a while.
_ENOUGH: Final = 4


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call until its provider is found; ``deadline`` is in monotonic seconds."""

    origin: Party
    message: RpcCall
    deadline: float

    def left(self, now: float) -> RpcCall:
        """The call with the time that is left; at least a millisecond."""
        left_ms = max(1, int((self.deadline - now) * 1000))
        return msgspec.structs.replace(self.message, deadline_ms=left_ms)


class _Known(NamedTuple):
    until: float
    path: int
    method: str


class Seeking:
    """At most ``limit`` calls wait; ``providers`` are the peers that calls go to."""

    def __init__(
        self, directory: Directory, paths: Paths, providers: Providers, limit: int
    ) -> None:
        self._directory = directory
        self._paths = paths
        self._providers = providers
        self._limit = limit
        self._waiting: dict[str, list[Waiting]] = {}
        self._methods: dict[int, str] = {}
        self._count = 0
        # All are kept equally long: the first is the earliest.
        self._known: deque[_Known] = deque()

    def __len__(self) -> int:
        return self._count

    def wait(self, origin: Party, message: RpcCall, now: float) -> bool:
        """Look for a provider; whether the call may wait for it."""
        if self._count >= self._limit:
            return False
        deadline = now + message.deadline_ms / 1000
        waiting = self._waiting.get(message.method)
        if waiting is None:
            waiting = self._waiting[message.method] = []
            number = self._directory.find_method(message.method, now, enough=_ENOUGH)
            self._methods[number] = message.method
        waiting.append(Waiting(origin, message, deadline))
        self._count += 1
        return True

    def found(self, result: ValueFound, members: Members, now: float) -> list[Waiting]:
        """A search ended: the calls that waited for it; who answers is among the providers now."""
        method = self._methods.pop(result.number, None)
        if method is None:
            return []
        for contact in MethodRegistry.read(result):
            member = members.get(contact.node_id)
            if member is not None and not member.health.is_gone:
                path = self._paths.number_of(contact.node_id)
                self._providers.add(path, (method,))
                self._known.append(_Known(now + KEEP_S, path, method))
        waiting = self._waiting.pop(method)
        self._count -= len(waiting)
        return waiting

    def drop(self, origin: Party) -> None:
        """Whoever called is gone."""
        for method, waiting in self._waiting.items():
            kept = [each for each in waiting if each.origin != origin]
            self._count -= len(waiting) - len(kept)
            self._waiting[method] = kept

    def forget(self, path: int, method: str) -> None:
        """That member does not answer the method, it says."""
        self._providers.remove(path, (method,))

    def advance(self, now: float) -> None:
        """Look again for what was found long ago."""
        while self._known and self._known[0].until <= now:
            known = self._known.popleft()
            self._providers.remove(known.path, (known.method,))

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return self._known[0].until if self._known else math.inf
