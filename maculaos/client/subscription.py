"""What a program hears: events of its topics, in a queue that forgets the oldest when full."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maculaos.wire.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from maculaos.client.connection import NodeUnreachable


@dataclass(frozen=True, slots=True)
class Event:
    """One published message; ``publisher`` is the node id in hex."""

    topic: str
    publisher: str
    payload: Value


class Subscription:
    """An endless, asynchronous sequence of events; ``close`` it, or use ``async with``."""

    def __init__(
        self, topics: tuple[str, ...], queue_size: int, forget: Callable[[Subscription], None]
    ) -> None:
        self.topics = topics
        # Events that came while the queue was full; each pushed out the oldest one.
        self.dropped = 0
        self._events: deque[Event] = deque(maxlen=queue_size)
        self._news = asyncio.Event()
        self._forget = forget
        self._end: Exception | None = None

    def put(self, event: Event) -> None:
        """Queue ``event``."""
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._news.set()

    def fail(self, why: NodeUnreachable) -> None:
        """Let the reader have what is queued, then ``why``."""
        self._end = self._end or why
        self._news.set()

    def close(self) -> None:
        """Want no more events; a reader that waits ends its loop."""
        if self._end is None:
            self._end = StopAsyncIteration()
            self._forget(self)
            self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._end is not None:
                raise self._end
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
