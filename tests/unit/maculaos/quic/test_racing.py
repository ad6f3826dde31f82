"""Laws of a race of several attempts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maculaos.quic.racing import race

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

NEVER_S = 3600.0


class Lane:
    """An attempt that a test ends as it likes."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        """Start, and wait for the end."""
        self.started.set()
        return await self.end


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await test()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())


def start(
    lanes: list[Lane], stagger_s: float, discarded: list[str] | None = None
) -> asyncio.Task[str]:
    attempts: list[Callable[[], Awaitable[str]]] = list(lanes)
    discard = ([] if discarded is None else discarded).append
    return asyncio.ensure_future(race(attempts, stagger_s, discard))


def test_silent_first_does_not_hold_up_the_second() -> None:
    async def main() -> None:
        lanes = [Lane(), Lane(), Lane()]
        racing = start(lanes, 0.01)
        for lane in lanes:
            await lane.started.wait()
        lanes[1].end.set_result("second")
        assert await racing == "second"
        assert lanes[0].end.cancelled()
        assert lanes[2].end.cancelled()

    run(main)


def test_next_one_starts_as_soon_as_one_fails() -> None:
    async def main() -> None:
        lanes = [Lane(), Lane()]
        racing = start(lanes, NEVER_S)
        await lanes[0].started.wait()
        assert not lanes[1].started.is_set()
        lanes[0].end.set_exception(OSError("refused"))
        await lanes[1].started.wait()
        lanes[1].end.set_result("second")
        assert await racing == "second"

    run(main)


def test_quick_first_is_alone() -> None:
    async def main() -> None:
        lanes = [Lane(), Lane()]
        racing = start(lanes, NEVER_S)
        await lanes[0].started.wait()
        lanes[0].end.set_result("first")
        assert await racing == "first"
        assert not lanes[1].started.is_set()
        lanes[1].end.cancel()

    run(main)


def test_all_that_fail_fail_with_the_first_reason() -> None:
    async def main() -> None:
        lanes = [Lane(), Lane()]
        racing = start(lanes, NEVER_S)
        for number, lane in enumerate(lanes):
            await lane.started.wait()
            lane.end.set_exception(OSError(f"reason {number}"))
        with pytest.raises(OSError, match="reason 0"):
            await racing

    run(main)


def test_two_that_win_at_once_leave_one() -> None:
    async def main() -> None:
        lanes, discarded = [Lane(), Lane()], list[str]()
        racing = start(lanes, 0.01, discarded)
        await lanes[1].started.wait()
        for number, lane in enumerate(lanes):
            lane.end.set_result(str(number))
        assert sorted([await racing, *discarded]) == ["0", "1"]

    run(main)


def test_race_that_is_called_off_cancels_every_attempt() -> None:
    async def main() -> None:
        lanes = [Lane(), Lane()]
        racing = start(lanes, 0.01)
        await lanes[1].started.wait()
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        assert all(lane.end.cancelled() for lane in lanes)

    run(main)
