"""What a program publishes: gathered into runs, sent in order, answered for by the run.

Payloads that follow each other to one topic, with the same options and in one turn of the loop,
travel as one POST. What cannot be sent yet waits here, within bounds. A run that is to be
acknowledged is sent again when the node came back, until its time is over: at least once. Any
other is sent at most once.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from maculaos.client.failures import late, overloaded
from maculaos.errors import MaculaError, UsageError
from maculaos.wire.events import MAX_TIME_MS, Post
from maculaos.wire.registry import DEFAULT_PRIORITY
from maculaos.wire.values import decode_value

if TYPE_CHECKING:
    from msgspec import Raw

    from maculaos.client.line import Line
    from maculaos.client.requests import Requests
    from maculaos.wire.messages import RpcResult

# Of payloads, each of them counted with an overhead: so a run has at most 512.
MAX_RUN_BYTES: Final = 256 * 1024
OVERHEAD: Final = 512
# What waits for a node that does not take it, or is away.
MAX_WAITING_BYTES: Final = 32 * 1024 * 1024
# Runs to be acknowledged that are under way; more of them wait here, and grow meanwhile.
MAX_UNDER_WAY: Final = 64
# The node answers a publication that is too late itself; one that hangs is waited for this long.
_GRACE_S: Final = 1.0
PRIORITIES: Final = {"urgent": 0, "high": 1, "normal": DEFAULT_PRIORITY, "low": 3}
# A run that waits takes others in for this part of the time that its first payload has.
_SHARED_WAIT: Final = 0.1


class Options(NamedTuple):
    """How something is published."""

    topic: str
    priority: str = "normal"
    ttl_s: float | None = None
    retain_s: float = 0.0
    acknowledge: bool = False
    # 0: nobody waits for an answer.
    timeout_s: float = 0.0
    is_trace: bool = False


class Run:
    """Payloads that travel together, and who waits for what becomes of them."""

    __slots__ = (
        "began", "deadline", "is_sent", "number", "options", "payloads", "publisher", "size",
        "timeout_s", "waiters",
    )  # fmt: skip

    def __init__(self, publisher: Publisher, options: Options, now: float) -> None:
        self.began = now
        self.is_sent = False
        self.publisher = publisher
        self.options = options
        self.number = 0
        self.payloads: list[Raw] = []
        self.size = 0
        # Their answers: what the node said.
        self.waiters: list[asyncio.Future[Any]] = []
        self.timeout_s = 0.0
        self.deadline = 0.0

    def waiter(self) -> asyncio.Future[Any]:
        """What the node says of this run, to be awaited; raises ``CallFailed``."""
        waiter = self.publisher.loop.create_future()
        self.waiters.append(waiter)
        return waiter

    def left_s(self, now: float) -> float:
        """How long the payloads are still worth something, in seconds."""
        options = self.options
        left_s = math.inf if options.ttl_s is None else options.ttl_s - (now - self.began)
        if options.acknowledge:
            # The node is to give up when the program does.
            left_s = min(left_s, self.deadline - _GRACE_S - now)
        return left_s

    def post(self, left_s: float) -> Post:
        """The message for the node."""
        self.is_sent = True
        options = self.options
        return Post(
            self.number,
            options.topic,
            tuple(self.payloads),
            options.acknowledge,
            _milliseconds(options.retain_s),
            PRIORITIES[options.priority],
            0 if left_s == math.inf else _milliseconds(left_s),
            options.is_trace,
        )

    def answered(self, result: RpcResult) -> None:
        """See ``Waiting``."""
        try:
            said = decode_value(result.payload)
        except MaculaError as error:
            self.failed(error)
            return
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(said)
        self.publisher.settled(self)

    def failed(self, why: MaculaError) -> None:
        """See ``Waiting``."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(why)
        self.publisher.settled(self)


class Publisher:
    """The runs of one program."""

    def __init__(self, line: Line, requests: Requests) -> None:
        self._line = line
        self._requests = requests
        self.loop = asyncio.get_running_loop()
        # Runs that wait, oldest first. The last one may grow: that is ``_growing``.
        self._runs: deque[Run] = deque()
        self._growing: Run | None = None
        self._options: tuple[Any, ...] = ()
        self._waiting_bytes = 0
        # Runs wait for more than this turn of the loop.
        self._is_behind = False
        # Runs to be acknowledged that are under way, by number.
        self._under_way: dict[int, Run] = {}
        self._is_scheduled = False
        self._drained = asyncio.Event()
        # Who waits for room, first come first served, with the size of what it has; how many of
        # them are not back yet, and the bytes of those that were let in.
        self._queue: deque[tuple[asyncio.Future[None], int]] = deque()
        self._queueing = 0
        self._let_in_bytes = 0

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits, or nobody takes it any more, that who can wait should do so.

        Also while others wait for room: who comes later has to stand behind them.
        """
        is_full = self._waiting_bytes > MAX_WAITING_BYTES // 2
        return is_full or self._queueing > 0 or self._line.is_over

    def put(self, options: tuple[Any, ...], payload: Raw) -> Run:
        """Let ``payload`` go out in this turn of the loop; return the run that it is in.

        ``options`` are ``Options``, or the same as a plain tuple. Raises ``CallFailed``
        (``OVERLOADED``) if too much waits already, ``UsageError`` for options without sense.
        """
        run, size = self._growing, len(payload) + OVERHEAD
        # Most often it is the tuple of before with other objects in it: compared, never kept.
        if (
            run is None
            or options != self._options
            or (run.size + size > MAX_RUN_BYTES and run.size)
        ):
            run = self._begin(options)
        run.payloads.append(payload)
        run.size += size
        return run

    def ask(self, options: tuple[Any, ...], payload: Raw) -> asyncio.Future[Any]:
        """Let ``payload`` go out in this turn of the loop; return what the node says of its run.

        Wait for room before, if it ``is_crowded``. Raises as ``put``.
        """
        if self._is_behind and self._growing is not None:
            # A run that waits for long already would have less time than its payload.
            waited_s = self.loop.time() - self._growing.began
            if waited_s > self._growing.timeout_s * _SHARED_WAIT:
                self._close_run()
        return self.put(options, payload).waiter()

    async def wait_for_room(self, timeout_s: float, size: int) -> None:
        """Wait until there is room for so many bytes, and everybody before had a turn.

        Raises ``CallFailed`` after so long, ``NodeUnreachable`` if there is no node any more.
        """
        place = self.loop.create_future()
        self._queue.append((place, size + OVERHEAD))
        self._queueing += 1
        self._schedule()
        try:
            async with asyncio.timeout(timeout_s):
                await place
        except TimeoutError:
            raise late(timeout_s) from None
        finally:
            self._queueing -= 1
            if place.done() and not place.cancelled():
                self._let_in_bytes -= size + OVERHEAD
            if self._queue:
                # Whatever this one does with its turn, the next have theirs.
                self._schedule()
        if self._line.is_over:
            raise self._line.gone()

    async def drain(self) -> None:
        """Wait until the node has room again, and let the loop run in any case.

        Raises ``NodeUnreachable`` if there is no node any more.
        """
        self.flush()
        await asyncio.sleep(0)
        while self._runs or not self._line.is_open:
            if self._line.is_over:
                raise self._line.gone()
            self._drained.clear()
            await self._drained.wait()

    def flush(self) -> None:
        """Send what waits, as far as there is room."""
        self._is_scheduled = False
        runs, line = self._runs, self._line
        while runs and line.is_open:
            if runs[0].options.acknowledge and len(self._under_way) >= MAX_UNDER_WAY:
                break
            run = runs.popleft()
            if run is self._growing:
                self._close_run()
            self._waiting_bytes -= run.size
            left_s = run.left_s(self.loop.time())
            if left_s <= 0:
                self._requests.drop(run.number)
                run.failed(late(run.timeout_s))
                continue
            if run.options.acknowledge:
                self._under_way[run.number] = run
            line.say(run.post(left_s))
        self._is_behind = bool(runs)
        if not runs and line.is_open:
            self._drained.set()
        self._let_in()

    def _let_in(self) -> None:
        """Let those that wait for room go on, in their order and as far as there is some."""
        queue, limit = self._queue, MAX_WAITING_BYTES // 2
        while queue and (self._waiting_bytes + self._let_in_bytes < limit or self._line.is_over):
            place, size = queue.popleft()
            if not place.done():
                self._let_in_bytes += size
                place.set_result(None)

    def settled(self, run: Run) -> None:
        """The node has answered, or never will."""
        if self._under_way.pop(run.number, None) is not None and self._runs:
            self._schedule()

    @staticmethod
    def keeps(waiting: object) -> bool:
        """Whether that is a run for the next connection: not sent yet, or to be acknowledged."""
        return isinstance(waiting, Run) and (waiting.options.acknowledge or not waiting.is_sent)

    def up(self) -> None:
        """A new connection: first what the last one took with it, then what waits."""
        again, self._under_way = self._under_way, {}
        for number in sorted(again, reverse=True):
            self._runs.appendleft(again[number])
            self._waiting_bytes += again[number].size
        self.flush()

    def over(self) -> None:
        """There is no node any more, and none will come."""
        self._runs.clear()
        self._under_way.clear()
        self._growing = None
        self._waiting_bytes = 0
        self._drained.set()
        self._let_in()

    def _close_run(self) -> None:
        """What comes next belongs to another run; now it counts what this one holds."""
        if self._growing is not None:
            self._waiting_bytes += self._growing.size
            self._growing = None

    def _begin(self, wanted: tuple[Any, ...]) -> Run:
        if self._growing is not None:
            self._close_run()
            self.flush()
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise overloaded(f"{self._waiting_bytes} bytes wait for the node; await mesh.drain()")
        options = Options(*wanted)
        _check(options)
        run = Run(self, options, self.loop.time())
        if options.timeout_s:
            run.number = self._requests.add(run, options.timeout_s, _GRACE_S)
        self._growing, self._options = run, wanted
        self._runs.append(run)
        self._schedule()
        return run

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self.flush)


def _check(options: Options) -> None:
    """Raise ``UsageError`` for options that make no sense."""
    if options.priority not in PRIORITIES:
        what = f"{options.priority!r} is no priority"
        raise UsageError(what, f"choose one of {', '.join(PRIORITIES)}")
    if options.retain_s < 0 or (options.ttl_s is not None and options.ttl_s <= 0):
        raise UsageError("a time must be positive", "leave it out for none")
    if max(options.retain_s, options.ttl_s or 0.0) * 1000 > MAX_TIME_MS:
        raise UsageError("a time is at most one day", "choose a shorter one")


def _milliseconds(seconds: float) -> int:
    return 0 if seconds <= 0 else max(1, min(round(seconds * 1000), 2**53))
