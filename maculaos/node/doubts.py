"""Calls whose link went away while both its ends stayed: are they still with their providers?

What was on its way then may be lost. The caller's node asks after such a call a moment later, by
RPC_CREDIT of none; who does not have it says PROVIDER_LOST.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from maculaos.node.telling import MOMENT_S
from maculaos.rpc.parties import number_of, of_link
from maculaos.wire.messages import RpcCredit, RpcError
from maculaos.wire.registry import RpcErrorCode

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node.links import Links
    from maculaos.node.paths import Paths
    from maculaos.node.telling import Telling
    from maculaos.rpc.parties import Party
    from maculaos.rpc.pending import PendingCalls
    from maculaos.wire.messages import RpcCall

# How long after its link went away a call is asked after: the other end knows of it by then.
_WAIT_S: Final = 1.0


class Doubts:
    """Those of one node, both ways; times are monotonic seconds."""

    def __init__(
        self, links: Links, paths: Paths, pending: PendingCalls[RpcCall], telling: Telling
    ) -> None:
        self._links = links
        self._paths = paths
        self._pending = pending
        self._telling = telling
        # When who is asked after which call, the earliest first.
        self._due: deque[tuple[float, Party, int]] = deque()

    def move(self, link: int, path: Party, now: float) -> None:
        """The calls of that link go on over a path; ask after those that its peer is to answer."""
        for call in self._pending.move(of_link(link), path):
            self._due.append((now + _WAIT_S, path, call.number))

    def advance(self, now: float) -> list[Effect]:
        """Ask after the calls that are due and still wait, once."""
        effects: list[Effect] = []
        while self._due and self._due[0][0] <= now:
            _, provider, number = self._due.popleft()
            call = self._pending.get(number, provider)
            if call is not None:
                asked = RpcCredit(number, 0)
                effects += self._telling.tell(provider, asked, now, call.deadline)
        return effects

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        return self._due[0][0] if self._due else math.inf

    def asked_after(self, origin: Party, number: int, now: float) -> list[Effect]:
        """A member asks after a call that does not wait here, or still does as one of its link.

        Who asks has no such link any more, even if the word of its end was lost: what waits here
        as a call of that link goes on over the path.
        """
        member = self._paths.member_at(number_of(origin))
        link = None if member is None else self._links.to(member)
        if link is not None and self._pending.is_open(of_link(link.number), number):
            self.move(link.number, origin, now)
            return []
        detail = "the call or its result was lost with a link"
        lost = RpcError(number, RpcErrorCode.PROVIDER_LOST, detail)
        return self._telling.tell(origin, lost, now, now + MOMENT_S)
