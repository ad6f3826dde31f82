"""Calls that wait for a result: numbered by this node, bounded, each with a deadline.

A call number only means something on one link or to one client. This node gives each call a
number of its own towards the provider and keeps the caller's number for the way back. What is
called and who is chosen is not its business.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, Generic, TypeVar

from msgspec import Struct

from maculaos.rpc.desks import Desk
from maculaos.rpc.parties import Party
from maculaos.rpc.streams import Stream

Request = TypeVar("Request")

# Answered calls stay in the deadline heap until it holds this many more than there are calls.
_SLACK: Final = 64
# So many bytes of requests are kept for another try; what is larger is tried once.
KEPT_BYTES: Final = 64 * 1024 * 1024


class PendingCall(Struct, Generic[Request], eq=False):
    """A call on its way; ``deadline`` is in monotonic seconds."""

    origin: Party
    origin_call: int
    deadline: float
    # What was asked, for as long as another provider may be asked the same; its size in bytes.
    request: Request | None
    size: int
    # The node id of who called.
    caller: bytes
    # Who brought the call, if that is not its origin: the link that an envelope came over.
    brought_by: Party = 0
    number: int = 0
    provider: Party = 0
    # Providers that said they did not run it, and what to tell if there is no other.
    tried: tuple[Party, ...] = ()
    refusal: tuple[int, str] | None = None
    # Whether providers were looked for already.
    is_sought: bool = False
    # Of a call that wants a stream.
    stream: Stream | None = None
    # Where it waits, if its provider said how much it takes.
    desk: Desk | None = None


class PendingCalls(Generic[Request]):
    """At most ``limit`` calls; one origin may hold half of them, so that none starves the rest.

    Numbers begin behind ``first``: one that nobody can guess keeps others from answering.
    """

    def __init__(self, limit: int, first: int = 0) -> None:
        self._limit = limit
        self._share = max(1, limit // 2)
        self._last_number = first
        self._kept_bytes = 0
        self._calls: dict[int, PendingCall[Request]] = {}
        # By origin: the number here of each call, by the number there.
        self._of_origin: dict[Party, dict[int, int]] = {}
        self._brought_by: dict[Party, int] = {}
        self._of_provider: dict[Party, int] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._calls)

    def is_open(self, origin: Party, origin_call: int) -> bool:
        """Whether a call of that number of that origin waits already."""
        own = self._of_origin.get(origin)
        return own is not None and origin_call in own

    def open(self, call: PendingCall[Request], provider: Party) -> bool:
        """Wait for ``provider`` to answer ``call``; false if too many calls wait already.

        A call whose origin uses its number already is one too many, too.
        """
        own = self._of_origin.get(call.origin) or {}
        if len(self._calls) >= self._limit or len(own) >= self._share:
            return False
        if call.origin_call in own or not self._bring(call):
            return False
        self._last_number = number = self._last_number + 1
        call.number, call.provider = number, provider
        self._kept_bytes += call.size
        if self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= call.size
            call.request, call.size = None, 0
        self._calls[number] = call
        own[call.origin_call] = number
        self._of_origin[call.origin] = own
        self._of_provider[provider] = self._of_provider.get(provider, 0) + 1
        if call.desk is not None:
            call.desk.waiting += 1
        heapq.heappush(self._deadlines, (call.deadline, number))
        return True

    def get(self, number: int, provider: Party) -> PendingCall[Request] | None:
        """The call that ``provider`` answers; ``None`` if it waits for no such answer."""
        call = self._calls.get(number)
        return call if call is not None and call.provider == provider else None

    def find(self, origin: Party, origin_call: int) -> PendingCall[Request] | None:
        """The call to which its origin gave that number; ``None`` if none waits."""
        number = self._of_origin.get(origin, {}).get(origin_call)
        return None if number is None else self._calls[number]

    def waiting_for(self, provider: Party) -> int:
        """How many calls wait for that provider."""
        return self._of_provider.get(provider, 0)

    def close(self, call: PendingCall[Request]) -> None:
        """That call waits no more."""
        del self._calls[call.number]
        self._kept_bytes -= call.size
        self._forget_origin(call)
        _count_down(self._of_provider, call.provider)
        if call.brought_by:
            _count_down(self._brought_by, call.brought_by)
        if call.desk is not None:
            call.desk.waiting -= 1
        if len(self._deadlines) > 2 * len(self._calls) + _SLACK:
            self._deadlines = [(each.deadline, each.number) for each in self._calls.values()]
            heapq.heapify(self._deadlines)

    def expire(self, now: float) -> list[PendingCall[Request]]:
        """Take the calls whose deadline has passed."""
        expired: list[PendingCall[Request]] = []
        while self.next_deadline() <= now:
            call = self._calls[heapq.heappop(self._deadlines)[1]]
            self.close(call)
            expired.append(call)
        return expired

    def drop(self, party: Party) -> tuple[list[PendingCall[Request]], list[PendingCall[Request]]]:
        """``party`` is gone: take what it asked of others, and what it was to answer to others."""
        calls = self._calls.values()
        asked = [call for call in calls if call.origin == party]
        owed = [call for call in calls if call.provider == party and call.origin != party]
        for call in (*asked, *owed):
            self.close(call)
        return [call for call in asked if call.provider != party], owed

    def move(self, old: Party, new: Party) -> list[PendingCall[Request]]:
        """What ``old`` asked or is to answer is ``new``'s from now on, but for streams.

        Returns the calls that it is to answer.
        """
        owed: list[PendingCall[Request]] = []
        for call in self._calls.values():
            if call.stream is not None:
                continue
            if call.origin == old and not self.is_open(new, call.origin_call):
                self._forget_origin(call)
                call.origin = new
                self._of_origin.setdefault(new, {})[call.origin_call] = call.number
            if call.provider == old:
                _count_down(self._of_provider, old)
                self._of_provider[new] = self._of_provider.get(new, 0) + 1
                call.provider = new
                owed.append(call)
        return owed

    def next_deadline(self) -> float:
        """When the first call expires; infinity if none waits."""
        while self._deadlines and self._deadlines[0][1] not in self._calls:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else math.inf

    def _forget_origin(self, call: PendingCall[Request]) -> None:
        own = self._of_origin[call.origin]
        del own[call.origin_call]
        if not own:
            del self._of_origin[call.origin]

    def _bring(self, call: PendingCall[Request]) -> bool:
        """Whether who brought ``call`` may bring one more."""
        if not call.brought_by:
            return True
        brought = self._brought_by.get(call.brought_by, 0)
        if brought >= self._share:
            return False
        self._brought_by[call.brought_by] = brought + 1
        return True


def _count_down(counts: dict[Party, int], party: Party) -> None:
    """One less; a party without any leaves the table."""
    left = counts[party] - 1
    if left:
        counts[party] = left
    else:
        del counts[party]
