"""A door: one listener that can be moved while the reconciler runs, and is never lost by that.

It opens at the start, and anew when its settings or the files of its certificate change. What
cannot be opened leaves what is open as it was. What is heard at a door is not its business.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from maculaos.errors import UsageError
from reconciler.web.server import Offer, prepared

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

S = TypeVar("S", bound=Offer)

Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan(Generic[S]):
    """How a door is to be open: its settings, and the files of its certificate as they are."""

    offer: S | None
    stamps: tuple[Stamp, ...] = ()


def plan_of(offer: S | None) -> Plan[S]:
    """The plan for these settings; blocks while it looks at files."""
    files = () if offer is None else (offer.certificate, offer.key)
    return Plan(offer, tuple(stamp_of(file) for file in files if file is not None))


def stamp_of(path: Path) -> Stamp:
    """What differs when a file was written anew; empty if there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Door(Generic[S]):
    """One listener; ``opening`` opens it, and gives the address that it has then."""

    def __init__(self, opening: Callable[[S], AbstractAsyncContextManager[str]]) -> None:
        self._opening = opening
        self._plan: Plan[S] = Plan(None)
        self._open = AsyncExitStack()
        # Where it is open; empty for nowhere.
        self.at = ""

    def is_as(self, plan: Plan[S]) -> bool:
        """Whether it is open in exactly that way."""
        return plan == self._plan

    async def move(self, plan: Plan[S]) -> None:
        """Be open in that way; raises ``UsageError``, and is then open as it was before."""
        if plan.offer is None:
            await self.close()
            self._plan = plan
            return
        prepared(plan.offer)  # what is of no use for any listener costs nobody his place
        if self._is_in_the_way(plan.offer):
            await self._replace(plan, plan.offer)
        else:
            opened = await self._opened(plan.offer)
            await self._open.aclose()
            self._open, self._plan = opened, plan

    async def close(self) -> None:
        """Listen no more."""
        await self._open.aclose()
        self._open, self._plan, self.at = AsyncExitStack(), Plan(None), ""

    def _is_in_the_way(self, offer: S) -> bool:
        present = self._plan.offer
        return present is not None and present.listen == offer.listen

    async def _replace(self, plan: Plan[S], offer: S) -> None:
        """At the same address one has to go before the other can come."""
        former = self._plan
        await self.close()
        try:
            self._open, self._plan = await self._opened(offer), plan
        except UsageError:
            if former.offer is not None:
                with suppress(UsageError):
                    self._open, self._plan = await self._opened(former.offer), former
            raise

    async def _opened(self, offer: S) -> AsyncExitStack:
        stack = AsyncExitStack()
        self.at = await stack.enter_async_context(self._opening(offer))
        return stack
