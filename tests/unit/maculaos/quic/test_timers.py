"""Laws of the timers of links: never late, seldom set anew, none left at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from maculaos.quic.timers import LinkTimers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.quic.link import Link

PATIENCE_S = 10.0


class Due:
    """Something with a deadline, as the timers see a link."""

    def __init__(self, deadline: float | None) -> None:
        self.number = 1
        self.deadline = deadline
        self.asked = 0
        self.handled: list[float] = []
        self.happened = asyncio.Event()

    @property
    def link(self) -> Link:
        """Itself, where a link is wanted."""
        return cast("Link", self)

    def next_timer(self) -> float | None:
        """See ``Link.next_timer``."""
        self.asked += 1
        return self.deadline

    def handle_timer(self, now: float) -> None:
        """See ``Link.handle_timer``."""
        self.handled.append(now)
        self.deadline = None
        self.happened.set()


def run(main: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await main(asyncio.get_running_loop())

    asyncio.run(bounded())


def test_a_deadline_is_handled_once_it_is_there() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        timers, due = LinkTimers(), Due(loop.time() + 0.01)
        wanted = due.deadline or 0.0
        timers.arm(due.link, loop.time())
        await due.happened.wait()
        assert due.handled[0] >= wanted
        assert len(due.handled) == 1

    run(main)


def test_a_deadline_that_moved_to_later_is_not_handled_early() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        timers, due = LinkTimers(), Due(loop.time() + 0.01)
        timers.arm(due.link, loop.time())
        due.deadline = wanted = loop.time() + 0.05
        timers.arm(due.link, loop.time())
        await due.happened.wait()
        assert due.handled == [moment for moment in due.handled if moment >= wanted]

    run(main)


def test_a_deadline_that_moved_to_sooner_is_not_late() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        timers, due = LinkTimers(), Due(loop.time() + 3600.0)
        timers.arm(due.link, loop.time())
        due.deadline = loop.time() + 0.01
        timers.arm(due.link, loop.time())
        await due.happened.wait()

    run(main)


def test_a_timer_that_fires_at_once_anyway_is_left_alone() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        timers, due = LinkTimers(), Due(loop.time() + 0.0005)
        timers.arm(due.link, loop.time())
        asked = due.asked
        timers.arm(due.link, loop.time())
        assert due.asked == asked
        timers.close()

    run(main)


def test_nothing_fires_after_the_end() -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        timers = LinkTimers()
        forgotten, closed, late = (Due(loop.time() + 0.001) for _ in range(3))
        forgotten.number, closed.number, late.number = 1, 2, 3
        timers.arm(forgotten.link, loop.time())
        timers.arm(closed.link, loop.time())
        timers.forget(forgotten.link)
        timers.close()
        timers.arm(late.link, loop.time())
        last = loop.create_future()
        loop.call_later(0.02, last.set_result, None)
        await last
        assert [each.handled for each in (forgotten, closed, late)] == [[], [], []]

    run(main)
