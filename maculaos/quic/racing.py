"""Several ways to the same end, raced: each starts a moment after the one before it (RFC 8305).

Nothing is known here of addresses or links.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Prize = TypeVar("Prize")


async def race(
    attempts: Sequence[Callable[[], Awaitable[Prize]]],
    stagger_s: float,
    discard: Callable[[Prize], None],
) -> Prize:
    """The first result of ``attempts``; the others are cancelled, or given to ``discard``.

    The next one starts ``stagger_s`` seconds after the one before it, or as soon as that failed.
    Raises what the first to fail raised, when all have; there must be at least one.
    """
    waiting = deque(attempts)
    running: set[asyncio.Task[Prize]] = set()
    failures: list[BaseException] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_run(waiting.popleft())))
            done, running = await asyncio.wait(
                running,
                timeout=stagger_s if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            failures += [error for task in done if (error := task.exception()) is not None]
            prizes = [task.result() for task in done if task.exception() is None]
            for surplus in prizes[1:]:
                discard(surplus)
            if prizes:
                return prizes[0]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    raise failures[0]


async def _run(attempt: Callable[[], Awaitable[Prize]]) -> Prize:
    return await attempt()
