"""What a program asks of others: calls, casts, and streams of results.

A call is never made twice: whether one that was under way when the node went was carried out,
nobody can know, so its caller is told. One that could not be sent yet waits for the node.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from maculaos.client.failures import late
from maculaos.errors import UsageError
from maculaos.wire.messages import RpcCall, RpcCancel, RpcCredit
from maculaos.wire.registry import Answering, Choice
from maculaos.wire.values import Value, decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from msgspec import Raw

    from maculaos.client.line import Line
    from maculaos.client.requests import Requests
    from maculaos.errors import MaculaError
    from maculaos.wire.messages import RpcResult

CHOICES: Final = {
    "nearest": Choice.NEAREST,
    "round-robin": Choice.ROUND_ROBIN,
    "random": Choice.RANDOM,
    "least-pending": Choice.LEAST_PENDING,
}
# The node answers a call that is too late itself; only a node that hangs is waited for this long.
_GRACE_S: Final = 1.0
# Parts of a stream that may be under way or wait here: a few until their size is known, then as
# many as fit a share of the bytes.
_FIRST_WINDOW: Final = 2
_WINDOW: Final = 64
_WINDOW_BYTES: Final = 8 * 1024 * 1024
_NOTHING: Final = bytes(encode_value(None))


class _Parts:
    """The parts of one stream as they come, and how many may come."""

    def __init__(self) -> None:
        # So many may come or wait to be taken.
        self._open = _FIRST_WINDOW
        self._largest_bytes = 1
        self.timeout_s = 0.0
        self.deadline = 0.0
        self.waiting: deque[Raw] = deque()
        self.is_over = False
        self.why: MaculaError | None = None
        self.news = asyncio.Event()

    def answered(self, result: RpcResult) -> None:
        """See ``Waiting``; the last result is a part of its own unless it is nothing."""
        if result.more or bytes(result.payload) != _NOTHING:
            self.waiting.append(result.payload)
            self._largest_bytes = max(self._largest_bytes, len(result.payload))
        self.is_over = not result.more
        self.news.set()

    def failed(self, why: MaculaError) -> None:
        """See ``Waiting``."""
        self.is_over, self.why = True, why
        self.news.set()

    def taken(self, share_bytes: int) -> int:
        """One was taken: how many more may come now, so that none need more than the share."""
        self._open -= 1
        wanted = max(1, min(_WINDOW, share_bytes // self._largest_bytes))
        more = wanted - self._open
        if self.is_over or 2 * more < wanted:
            return 0
        self._open += more
        return more


class Calls:
    """The calls of one program."""

    def __init__(self, line: Line, requests: Requests) -> None:
        self._line = line
        self._requests = requests
        self._streams = 0

    async def call(self, method: str, value: Value, timeout_s: float, choice: str) -> Value:
        """The result of ``method``; see ``Mesh.call``."""
        payload, choice_number = encode_value(value), _number_of(choice)
        timeout_s = await self._left_of(timeout_s)
        number, answer = self._requests.answer(timeout_s, _GRACE_S)
        try:
            self._line.send(
                RpcCall(number, method, _milliseconds(timeout_s), b"", payload, choice_number)
            )
            return decode_value((await answer).payload)
        except asyncio.CancelledError:
            self._line.say(RpcCancel(number))
            raise
        finally:
            self._requests.drop(number)

    async def cast(self, method: str, value: Value, timeout_s: float, choice: str) -> None:
        """Call ``method`` and want to know nothing of it; see ``Mesh.cast``."""
        payload, choice_number = encode_value(value), _number_of(choice)
        left_ms = _milliseconds(await self._left_of(timeout_s))
        number = self._requests.number()
        none = Answering.NONE
        self._line.send(RpcCall(number, method, left_ms, b"", payload, choice_number, none))

    async def stream(
        self, method: str, value: Value, timeout_s: float, choice: str
    ) -> AsyncIterator[Value]:
        """The results of ``method``, one after the other; see ``Mesh.stream``."""
        payload, choice_number = encode_value(value), _number_of(choice)
        timeout_s = await self._left_of(timeout_s)
        parts = _Parts()
        number = self._requests.add(parts, timeout_s, _GRACE_S)
        left_ms, kind = _milliseconds(timeout_s), Answering.STREAM
        credit = _FIRST_WINDOW
        self._streams += 1
        try:
            self._line.send(
                RpcCall(number, method, left_ms, b"", payload, choice_number, kind, credit)
            )
            async with aclosing(self._taken_out(number, parts)) as values:
                async for value in values:
                    yield value
        finally:
            self._streams -= 1
            self._requests.drop(number)
            if not parts.is_over:
                self._line.say(RpcCancel(number))

    async def _taken_out(self, number: int, parts: _Parts) -> AsyncGenerator[Value, None]:
        while True:
            while parts.waiting:
                value = decode_value(parts.waiting.popleft())
                more = parts.taken(_WINDOW_BYTES // max(1, self._streams))
                if more:
                    self._line.say(RpcCredit(number, more))
                yield value
            if parts.why is not None:
                raise parts.why
            if parts.is_over:
                return
            parts.news.clear()
            await parts.news.wait()

    async def _left_of(self, timeout_s: float) -> float:
        """Wait for a node if there is none, or for room; return what is left of the time."""
        if self._line.is_open:
            return timeout_s
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await self._line.until_up(timeout_s)
        try:
            async with asyncio.timeout_at(deadline):
                await self._line.until_room()
        except TimeoutError:
            raise late(timeout_s) from None
        return max(0.001, deadline - loop.time())


def _number_of(choice: str) -> Choice:
    try:
        return CHOICES[choice]
    except KeyError:
        what = f"{choice!r} is no way to choose"
        raise UsageError(what, f"choose one of {', '.join(CHOICES)}") from None


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
