"""Requests to the node that wait for their answers, by number.

Every one has a deadline. They share one timer, so that a call costs no timer of its own: the node
answers in time by itself, and only one that hangs is found out here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from maculaos.client.failures import failure, late, overloaded

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.errors import MaculaError
    from maculaos.wire.messages import RpcError, RpcResult

MAX_PENDING: Final = 10_000
_LOOK_S: Final = 0.25


class Waiting(Protocol):
    """One who waits for the answer to a request."""

    #: How long it waits, and until when by the clock of the loop.
    timeout_s: float
    deadline: float

    def answered(self, result: RpcResult) -> None:
        """An answer came; with ``more`` it is not the last one."""
        ...

    def failed(self, why: MaculaError) -> None:
        """There will be no answer."""
        ...


class Answer(asyncio.Future["RpcResult"]):
    """One answer, to be awaited."""

    timeout_s: float
    deadline: float

    def answered(self, result: RpcResult) -> None:
        """See ``Waiting``."""
        if not self.done():
            self.set_result(result)

    def failed(self, why: MaculaError) -> None:
        """See ``Waiting``."""
        if not self.done():
            self.set_exception(why)


class Requests:
    """At most ``MAX_PENDING`` requests, numbered from 1; a number is never used again."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, Waiting] = {}
        self._last = 0
        self._timer: asyncio.TimerHandle | None = None

    def answer(self, timeout_s: float, grace_s: float = 0.0) -> tuple[int, Answer]:
        """A new request, and its one answer; ``drop`` it afterwards."""
        answer = Answer(loop=self._loop)
        return self.add(answer, timeout_s, grace_s), answer

    def add(self, waiting: Waiting, timeout_s: float, grace_s: float = 0.0) -> int:
        """A new request; raises ``CallFailed`` (``OVERLOADED``) if too many wait.

        ``grace_s`` is for a node that answers in time itself, and may hang.
        """
        if len(self._waiting) >= MAX_PENDING:
            raise overloaded(f"{MAX_PENDING} requests are waiting")
        waiting.timeout_s, waiting.deadline = timeout_s, self._loop.time() + timeout_s + grace_s
        number = self.number()
        self._waiting[number] = waiting
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_S, self._look)
        return number

    def number(self) -> int:
        """A number that nobody waits for."""
        self._last += 1
        return self._last

    def drop(self, number: int) -> None:
        """Nobody waits for that any more; can be repeated."""
        self._waiting.pop(number, None)

    def take_result(self, result: RpcResult) -> None:
        """The node answers; what nobody waits for any more is ignored."""
        waiting = self._waiting.get(result.call)
        if waiting is not None:
            if not result.more:
                del self._waiting[result.call]
            waiting.answered(result)

    def take_error(self, error: RpcError) -> bool:
        """The node answers that there is no result; false if nobody waits for one."""
        waiting = self._waiting.pop(error.call, None)
        if waiting is None:
            return False
        waiting.failed(failure(error.code, error.detail))
        return True

    def fail(self, why: Callable[[], MaculaError], keep: Callable[[Waiting], bool]) -> None:
        """Give up every request but those to ``keep``, each with an error of its own."""
        for number, waiting in list(self._waiting.items()):
            if not keep(waiting):
                del self._waiting[number]
                waiting.failed(why())

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = self._loop.time()
        overdue = [each for each in self._waiting.items() if each[1].deadline <= now]
        for number, waiting in overdue:
            del self._waiting[number]
            waiting.failed(late(waiting.timeout_s))
        self._timer = self._loop.call_later(_LOOK_S, self._look) if self._waiting else None
