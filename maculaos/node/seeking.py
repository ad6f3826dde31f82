"""Calls whose provider is looked for in the distributed table, and what was found there.

A provider that was found is called for a while without looking again, and no longer once it
says that it answers the method no more. It is kept apart from those that announced themselves
over a link: neither can take the other's room.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from maculaos.kademlia.methods import MethodRegistry
from maculaos.rpc.pending import Party
from maculaos.rpc.providers import Providers
from maculaos.wire.messages import RpcCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.kademlia.requests import ValueFound
    from maculaos.node.directory import Directory
    from maculaos.node.paths import Paths
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


class Seeking:
    """At most ``limit`` calls wait, and at most ``limit`` providers are kept."""

    def __init__(self, directory: Directory, paths: Paths, limit: int) -> None:
        self._directory = directory
        self._paths = paths
        self._limit = limit
        self._waiting: dict[str, list[Waiting]] = {}
        self._methods: dict[int, str] = {}
        self._count = 0
        # No waiting call is due before this.
        self._due_at = math.inf
        self._providers = Providers(limit)
        # Until when each is kept; all are kept equally long: the first is the earliest.
        self._known: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def kept(self) -> int:
        """How many providers are kept, counted once for each of their methods."""
        return len(self._providers)

    def choose(self, method: str) -> int | None:
        """The path to a provider that was found; ``None`` if there is none."""
        return self._providers.choose(method)

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
        self._due_at = min(self._due_at, deadline)
        return True

    def found(self, result: ValueFound, members: Members, now: float) -> list[Waiting]:
        """A search ended: the calls that waited for it; who answers is kept from now on."""
        method = self._methods.pop(result.number, None)
        if method is None:
            return []
        for contact in MethodRegistry.read(result)[: self._limit]:
            member = members.get(contact.node_id)
            if member is not None and not member.health.is_gone:
                self._keep(self._paths.number_of(contact.node_id), method, now)
        waiting = self._waiting.pop(method)
        self._count -= len(waiting)
        return waiting

    def drop(self, origin: Party) -> None:
        """Whoever called is gone."""
        self._take(lambda each: each.origin == origin)

    def forget(self, path: int) -> None:
        """That member is gone, or does not answer what it said it does."""
        self._providers.drop(path)

    def advance(self, now: float) -> list[Waiting]:
        """Look again for what was found long ago; return the calls whose deadline has passed."""
        while self._known:
            known, until = next(iter(self._known.items()))
            if until > now:
                break
            self._let_go(known)
        if now < self._due_at:
            return []
        late = self._take(lambda each: each.deadline <= now)
        deadlines = (each.deadline for waiting in self._waiting.values() for each in waiting)
        self._due_at = min(deadlines, default=math.inf)
        return late

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return min(self._due_at, next(iter(self._known.values()), math.inf))

    def _keep(self, path: int, method: str, now: float) -> None:
        """One more provider; the one that was found first makes room for it."""
        self._let_go((path, method))
        while len(self._known) >= self._limit:
            self._let_go(next(iter(self._known)))
        self._providers.add(path, (method,))
        self._known[path, method] = now + KEEP_S

    def _let_go(self, known: tuple[int, str]) -> None:
        if self._known.pop(known, None) is not None:
            path, method = known
            self._providers.remove(path, (method,))

    def _take(self, is_wanted: Callable[[Waiting], bool]) -> list[Waiting]:
        """Take out the waiting calls for which that holds; their searches go on."""
        taken: list[Waiting] = []
        for method, waiting in self._waiting.items():
            out = [each for each in waiting if is_wanted(each)]
            if out:
                self._waiting[method] = [each for each in waiting if not is_wanted(each)]
                taken += out
        self._count -= len(taken)
        return taken
