"""What a program answers: handlers of methods, each run a bounded number of times at once.

A handler is a function, a coroutine function, or an asynchronous generator function, whose results
go out one by one as far as the caller takes them. A call that is cancelled or late is cancelled
here, too. Handlers that ran when the node went are cancelled: nobody waits for them.
"""

from __future__ import annotations

import asyncio
import inspect
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from maculaos.client.failures import failure
from maculaos.errors import MaculaError
from maculaos.wire.messages import RpcCall, RpcError, RpcRegister, RpcResult, RpcUnregister
from maculaos.wire.registry import Answering, RpcErrorCode
from maculaos.wire.values import Value, decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator
    from types import TracebackType
    from typing import Self

    from maculaos.client.failures import CallFailed
    from maculaos.client.line import Line
    from maculaos.client.requests import Requests


Handler: TypeAlias = "Callable[[Any], Value | Awaitable[Value] | AsyncIterator[Value]]"

MAX_RUNNING: Final = 64
MAX_DETAIL: Final = 1000
# Of a stream, which is handed on one result after the other.
_MORE: Final = True
_NOTHING: Final = encode_value(None)

_current: ContextVar[Running | None] = ContextVar("macula_call", default=None)


def caller() -> str:
    """Inside of a handler: the id, in hex, of the node that calls; empty elsewhere."""
    running = _current.get()
    return "" if running is None else running.call.caller.hex()


def remaining() -> float:
    """Inside of a handler: the seconds that are left until nobody waits for the result any more.

    Infinite elsewhere.
    """
    running = _current.get()
    if running is None:
        return float("inf")
    return max(0.0, running.deadline - running.time())


class Method:
    """One method that is answered here, and how many calls of it run."""

    __slots__ = (
        "concurrency",
        "handler",
        "is_awaited",
        "name",
        "refusal",
        "request",
        "running",
    )

    def __init__(self, name: str, handler: Handler, concurrency: int) -> None:
        self.name = name
        self.handler = handler
        self.concurrency = concurrency
        self.running = 0
        # Under which number the node was told of it last, and why it does not want it.
        self.request = 0
        self.refusal: CallFailed | None = None
        # Somebody waits to hear whether the node takes it.
        self.is_awaited = False


class Running:
    """A call that a handler is busy with."""

    __slots__ = ("call", "credit", "deadline", "is_late", "method", "room", "task", "time", "timer")

    def __init__(self, call: RpcCall, method: Method, time: Callable[[], float]) -> None:
        self.call = call
        self.method = method
        # The clock of the loop, for handlers in other threads as well.
        self.time = time
        self.deadline = time() + call.deadline_ms / 1000
        # Of a stream: so many results more may be sent.
        self.credit = call.credit
        self.room = asyncio.Event()
        self.is_late = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def expire(self) -> None:
        """The time of the call is over."""
        self.is_late = True
        if self.task is not None:
            self.task.cancel()

    def grant(self, credit: int) -> None:
        """The caller takes so many results more."""
        self.credit += max(0, credit)
        self.room.set()


class Provider:
    """The handlers of one program and the calls they are busy with."""

    def __init__(self, line: Line, requests: Requests) -> None:
        self._line = line
        self._requests = requests
        self._loop = asyncio.get_running_loop()
        self._methods: dict[str, Method] = {}
        # What the node was told of, by the number that a refusal names.
        self._asked: dict[int, Method] = {}
        self._running: dict[int, Running] = {}

    def add(self, name: str, handler: Handler, concurrency: int) -> None:
        """Answer calls of ``name`` with ``handler``, at most so many at once."""
        self._put(Method(name, handler, concurrency))

    async def register(
        self,
        name: str,
        handler: Handler,
        concurrency: int,
        until_heard: Callable[[], Awaitable[object]],
    ) -> None:
        """Answer calls of ``name`` once the node knows of it.

        ``until_heard`` returns when the node has read what was said to it so far. Raises what that
        raises, and ``CallFailed`` if the node refuses the method; then it is not answered.
        """
        method = Method(name, handler, concurrency)
        method.is_awaited = True
        self._put(method)
        try:
            await until_heard()
            if method.refusal is not None:
                raise method.refusal
        except BaseException:
            if self._methods.get(name) is method:
                self.remove(name)
            raise
        method.is_awaited = False

    def remove(self, name: str) -> None:
        """Answer calls of ``name`` no more; calls under way go on."""
        method = self._methods.pop(name, None)
        if method is not None:
            self._asked.pop(method.request, None)
            self._line.say(RpcUnregister((name,)))

    def up(self) -> None:
        """A node is there that knows of no method yet, and may take those that were refused."""
        self._asked.clear()
        for method in tuple(self._methods.values()):
            self._ask_for(method)

    def take_error(self, error: RpcError) -> bool:
        """The node refuses a method; false if that is about something else.

        Where nobody waits to hear it, the exception handler of the event loop does.
        """
        method = self._asked.pop(error.call, None)
        if method is None:
            return False
        method.refusal = failure(error.code, error.detail)
        if not method.is_awaited:
            said = f"the node refuses {method.name}; it is asked again when it comes back"
            self._loop.call_exception_handler({"message": said, "exception": method.refusal})
        return True

    def take(self, call: RpcCall) -> None:
        """Begin to answer ``call``, or refuse it at once."""
        method = self._methods.get(call.method)
        if method is None:
            self._refuse(call, RpcErrorCode.NO_PROVIDER, f"{call.method} is not answered here")
        elif method.running >= method.concurrency:
            detail = f"{method.running} calls of {call.method} are under way"
            self._refuse(call, RpcErrorCode.OVERLOADED, detail)
        else:
            self._begin(Running(call, method, self._loop.time))

    def cancel(self, number: int) -> None:
        """The caller does not want the result any more."""
        running = self._running.get(number)
        if running is not None and running.task is not None:
            running.task.cancel()

    def grant(self, number: int, credit: int) -> None:
        """The caller of a stream takes so many results more."""
        running = self._running.get(number)
        if running is not None:
            running.grant(credit)

    async def close(self) -> None:
        """Give up the calls that are under way."""
        tasks = [each.task for each in self._running.values() if each.task is not None]
        self.cancel_all()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cancel_all(self) -> None:
        """Nobody waits for any result any more."""
        for number in tuple(self._running):
            self.cancel(number)

    def _put(self, method: Method) -> None:
        """Answer with ``method`` from now on, in place of another of its name."""
        before = self._methods.get(method.name)
        if before is not None:
            self._asked.pop(before.request, None)
        self._methods[method.name] = method
        self._ask_for(method)

    def _ask_for(self, method: Method) -> None:
        """Tell the node, if there is one; a node that refuses it names the number."""
        method.request, method.refusal = self._requests.number(), None
        self._asked[method.request] = method
        self._line.say(RpcRegister((method.name,), method.concurrency, method.request))

    def _begin(self, running: Running) -> None:
        """Call the handler; what it returns at once is answered at once, and costs no task."""
        before = _current.set(running)
        try:
            result: Any = running.method.handler(decode_value(running.call.payload))
            is_at_once = not (inspect.isawaitable(result) or hasattr(result, "__aiter__"))
            if is_at_once and running.call.answering == Answering.ONE:
                self._line.say(RpcResult(running.call.call, encode_value(result)))
            else:
                self._follow(running, result)
        except Exception as error:  # noqa: BLE001  # whatever a handler raises goes to its caller
            self._fail(running.call, error)
        finally:
            _current.reset(before)

    def _follow(self, running: Running, result: Any) -> None:
        number = running.call.call
        self._running[number] = running
        running.method.running += 1
        running.task = self._loop.create_task(self._answer(running, result))
        running.timer = self._loop.call_at(running.deadline, running.expire)
        running.task.add_done_callback(lambda _: self._ended(number, running, result))

    def _ended(self, number: int, running: Running, result: Any) -> None:
        if inspect.iscoroutine(result):
            # A task that is cancelled before its first step has not awaited it, and nobody will.
            result.close()
        running.method.running -= 1
        if running.timer is not None:
            running.timer.cancel()
        if self._running.get(number) is running:
            del self._running[number]

    async def _answer(self, running: Running, result: Any) -> None:
        call = running.call
        try:
            if call.answering == Answering.STREAM:
                await self._stream(running, result)
                self._line.say(RpcResult(call.call, _NOTHING))
                return
            value = await _one(result)
            if call.answering == Answering.ONE:
                self._line.say(RpcResult(call.call, encode_value(value)))
        except asyncio.CancelledError:
            if not running.is_late:
                raise
            late = RpcErrorCode.DEADLINE_EXCEEDED
            self._refuse(call, late, "the handler took too long")
        except Exception as error:  # noqa: BLE001  # whatever a handler raises goes to its caller
            self._fail(call, error)

    async def _stream(self, running: Running, result: Any) -> None:
        number = running.call.call
        if not hasattr(result, "__aiter__"):
            self._line.say(RpcResult(number, encode_value(await _one(result)), _MORE))
            return
        try:
            async for value in result:
                payload = encode_value(value)
                while running.credit <= 0:
                    running.room.clear()
                    await running.room.wait()
                if not self._line.is_open:
                    await self._line.until_room()
                running.credit -= 1
                self._line.say(RpcResult(number, payload, _MORE))
        finally:
            if inspect.isasyncgen(result):
                await result.aclose()

    def _fail(self, call: RpcCall, error: Exception) -> None:
        said = str(error) if isinstance(error, MaculaError) else _described(error)
        self._refuse(call, RpcErrorCode.HANDLER_FAILED, said)

    def _refuse(self, call: RpcCall, code: RpcErrorCode, detail: str) -> None:
        if call.answering != Answering.NONE:
            self._line.say(RpcError(call.call, code, detail[:MAX_DETAIL]))


class Registration:
    """One method that this program answers, until ``close``; await it, or use ``async with``."""

    def __init__(self, method: str, begin: Callable[[], Awaitable[Any]], end: Callable[[], None]):
        self.method = method
        self._begin = begin
        self._end = end

    def close(self) -> None:
        """Answer this method no more."""
        self._end()

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._begin().__await__()
        return self

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _one(result: Any) -> Any:
    """What a handler came to, if that is one value."""
    if hasattr(result, "__aiter__"):
        if inspect.isasyncgen(result):
            await result.aclose()
        raise MaculaError("the method answers with a stream; call it by mesh.stream()")
    return await result if inspect.isawaitable(result) else result


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
