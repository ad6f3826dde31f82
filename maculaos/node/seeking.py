"""Calls whose provider is looked for in the distributed table, and what was found there.

A provider that was found is called for a while without looking again, and no longer once it
says that it answers the method no more. It is kept apart from those that announced themselves
over a link: neither can take the other's room.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

from maculaos.kademlia.record import Kind
from maculaos.rpc.pending import KEPT_BYTES, PendingCall
from maculaos.rpc.providers import Providers
from maculaos.wire.messages import RpcCall
from maculaos.wire.registry import Answering, RpcErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from maculaos.kademlia.requests import ValueFound
    from maculaos.node.directory import Directory
    from maculaos.node.paths import Paths
    from maculaos.rpc.parties import Party
    from maculaos.swim.members import Members

Call: TypeAlias = PendingCall[RpcCall]

# How long a provider that was found is called before it is looked for again.
KEEP_S: Final = 60.0
# So many providers are enough for a call, and so many to choose from for a while.
_ENOUGH: Final = 4
_MANY: Final = 16
_OVERLOADED: Final = int(RpcErrorCode.OVERLOADED)
_NONE: Final = int(Answering.NONE)


class Seeking:
    """At most ``limit`` calls wait, and at most ``limit`` providers are kept.

    Of what may wait one caller has half, and all together hold ``KEPT_BYTES`` of requests.
    """

    def __init__(self, directory: Directory, paths: Paths, limit: int) -> None:
        self._directory = directory
        self._paths = paths
        self._limit = limit
        self._room = _Room(limit)
        self._waiting: dict[str, list[Call]] = {}
        self._methods: dict[int, str] = {}
        # No waiting call is due before this.
        self._due_at = math.inf
        self._providers = Providers(limit)
        # Until when each is kept; all are kept equally long: the first is the earliest.
        self._known: dict[tuple[int, str], float] = {}
        # Which saying of each is kept, and which turned out to hold no more, the oldest first.
        self._said: dict[tuple[int, str], int] = {}
        self._denied: dict[tuple[int, str], int] = {}
        # When more providers of a method were looked for, the earliest first.
        self._surveyed: dict[str, float] = {}

    def __len__(self) -> int:
        return self._room.calls

    def is_waiting(self, origin: Party, number: int) -> bool:
        """Whether a call of that number waits, of which its caller hears by that number."""
        return (origin, number) in self._room.numbers

    def choose(self, method: str, avoided: Sequence[int] = ()) -> int | None:
        """The path to a provider that was found; ``None`` if there is none."""
        return self._providers.choose(method, avoided)

    def known(self, method: str) -> Sequence[int]:
        """The paths to all providers that were found."""
        return self._providers.sources(method)

    def survey(self, method: str, now: float) -> None:
        """Look for more providers to choose from, if that was not done lately; nobody waits."""
        if method in self._surveyed or method in self._waiting:
            return
        if len(self._surveyed) >= self._limit:
            del self._surveyed[next(iter(self._surveyed))]
        self._surveyed[method] = now + KEEP_S
        self._look(method, now, _MANY)

    def wait(self, call: Call, method: str, now: float) -> bool:
        """Look for a provider; whether the call may wait for it."""
        if not self._room.enter(call):
            return False
        if method not in self._waiting:
            self._look(method, now, _ENOUGH)
        self._waiting[method].append(call)
        self._due_at = min(self._due_at, call.deadline)
        return True

    def found(self, result: ValueFound, members: Members, now: float) -> list[Call]:
        """A search ended: the calls that waited for it; who answers is kept from now on."""
        method = self._methods.pop(result.number, None)
        if method is None:
            return []
        said = [record for record in result.records if record.kind == Kind.METHOD]
        for record in said[: self._limit]:
            if members.is_present(record.publisher):
                path = self._paths.number_of(record.publisher)
                self._keep((path, method), record.sequence, now)
        waiting = self._waiting.pop(method)
        self._room.leave(waiting)
        if not (result.records or result.asked or result.is_complete):
            # There was no room for that search. Whether anybody answers is not known.
            _refuse(waiting, "too many searches are under way")
        return waiting

    def cancel(self, origin: Party, number: int) -> bool:
        """Its caller does not want the result of that call any more; whether it waited."""
        return bool(self._take(lambda each: each.origin == origin and each.origin_call == number))

    def drop(self, origin: Party) -> None:
        """Whoever called is gone."""
        self._take(lambda each: each.origin == origin)

    def deny(self, path: int, method: str) -> None:
        """That member does not answer what it said it does; it may say so anew."""
        said = self._said.get((path, method))
        if said is None:
            return
        self._let_go((path, method))
        self._denied[path, method] = said
        if len(self._denied) > self._limit:
            del self._denied[next(iter(self._denied))]

    def forget(self, path: int) -> None:
        """That member is gone."""
        for method in self._providers.methods_of(path):
            self._let_go((path, method))

    def advance(self, now: float) -> list[Call]:
        """Look again for what was found long ago; return the calls whose deadline has passed."""
        while self._known:
            known, until = next(iter(self._known.items()))
            if until > now:
                break
            self._let_go(known)
        while self._surveyed and next(iter(self._surveyed.values())) <= now:
            del self._surveyed[next(iter(self._surveyed))]
        if now < self._due_at:
            return []
        late = self._take(lambda each: each.deadline <= now)
        deadlines = (call.deadline for waiting in self._waiting.values() for call in waiting)
        self._due_at = min(deadlines, default=math.inf)
        return late

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        if not (self._known or self._surveyed):
            return self._due_at
        return min(
            self._due_at,
            next(iter(self._known.values()), math.inf),
            next(iter(self._surveyed.values()), math.inf),
        )

    def _look(self, method: str, now: float, enough: int) -> None:
        self._waiting[method] = []
        self._methods[self._directory.find_method(method, now, enough=enough)] = method

    def _keep(self, known: tuple[int, str], sequence: int, now: float) -> None:
        """One more provider; the one that was found first makes room for it."""
        if sequence <= self._denied.get(known, -1):
            # Somebody still holds what was taken back.
            return
        self._let_go(known)
        while len(self._known) >= self._limit:
            self._let_go(next(iter(self._known)))
        path, method = known
        self._providers.add(path, (method,))
        self._known[known] = now + KEEP_S
        self._said[known] = sequence

    def _let_go(self, known: tuple[int, str]) -> None:
        if self._known.pop(known, None) is not None:
            path, method = known
            del self._said[known]
            self._providers.remove(path, (method,))

    def _take(self, is_wanted: Callable[[Call], bool]) -> list[Call]:
        """Take out the waiting calls for which that holds; their searches go on."""
        taken: list[Call] = []
        for method, waiting in self._waiting.items():
            out = [call for call in waiting if is_wanted(call)]
            if out:
                self._waiting[method] = [call for call in waiting if not is_wanted(call)]
                taken += out
        self._room.leave(taken)
        return taken


class _Room:
    """How much waits, of ``limit`` calls."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = max(1, limit // 2)
        self._bytes = 0
        self._of: Counter[Party] = Counter()
        self.calls = 0
        # By which callers hear of their calls; nobody hears of a cast.
        self.numbers: set[tuple[Party, int]] = set()

    def enter(self, call: Call) -> bool:
        """One more call waits, if it may."""
        if self.calls >= self._limit or self._of[call.origin] >= self._share:
            return False
        if self._bytes + call.size > KEPT_BYTES:
            return False
        self.calls += 1
        self._bytes += call.size
        self._of[call.origin] += 1
        if not _is_cast(call):
            self.numbers.add((call.origin, call.origin_call))
        return True

    def leave(self, calls: Iterable[Call]) -> None:
        """These wait no more."""
        for call in calls:
            self.calls -= 1
            self._bytes -= call.size
            self._of[call.origin] -= 1
            if not self._of[call.origin]:
                del self._of[call.origin]
            if not _is_cast(call):
                self.numbers.discard((call.origin, call.origin_call))


def _is_cast(call: Call) -> bool:
    return call.request is not None and call.request.answering == _NONE


def _refuse(calls: Iterable[Call], detail: str) -> None:
    """What these are told if nobody is known; being overloaded says more than not answering."""
    for call in calls:
        if call.refusal is None or call.refusal[0] != _OVERLOADED:
            call.refusal = _OVERLOADED, detail
