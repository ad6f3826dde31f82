"""Time: what the machine says, or what a test says."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Seconds since the epoch, for people and certificates; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, for deadlines."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread."""
        ...

    async def wait(self, seconds: float) -> None:
        """Let the event loop go on meanwhile."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        """See ``Clock.now``."""
        return time.time()

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """See ``Clock.sleep``."""
        time.sleep(seconds)

    async def wait(self, seconds: float) -> None:
        """See ``Clock.wait``."""
        # Loaded by whoever waits: a small program that only reads the clock stays small.
        import asyncio

        await asyncio.sleep(seconds)


class FakeClock:
    """A clock that only moves when it is told to, or when somebody sleeps on it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> float:
        """See ``Clock.now``."""
        return self._now

    def monotonic(self) -> float:
        """See ``Clock.monotonic``."""
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Move on by that much, at once."""
        self._now += seconds
        self._monotonic += seconds

    async def wait(self, seconds: float) -> None:
        """Move on by that much, and let other tasks run once."""
        import asyncio

        self.sleep(seconds)
        await asyncio.sleep(0)
