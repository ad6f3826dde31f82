"""What a program answers: handlers of methods, run a bounded number at a time."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from maculaos.client.connection import NodeUnreachable
from maculaos.errors import MaculaError
from maculaos.wire.messages import RpcCall, RpcError, RpcRegister, RpcResult, RpcUnregister
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import Value, decode_value, encode_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import TracebackType
    from typing import Self

    from maculaos.client.connection import Connection


Handler: TypeAlias = "Callable[[Value], Value | Awaitable[Value]]"

MAX_RUNNING: Final = 64
MAX_DETAIL: Final = 1000

_caller: ContextVar[str] = ContextVar("macula_caller", default="")


def caller() -> str:
    """Inside of a handler: the id, in hex, of the node that calls; empty elsewhere."""
    return _caller.get()


class Provider:
    """The handlers of one connection and the calls they are busy with."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._handlers: dict[str, Handler] = {}
        self._running: set[asyncio.Task[None]] = set()

    def add(self, method: str, handler: Handler) -> None:
        """Answer calls of ``method`` with ``handler``; raises ``NodeUnreachable``."""
        self._handlers[method] = handler
        self._connection.send_now(RpcRegister((method,)))

    def remove(self, method: str) -> None:
        """Answer calls of ``method`` no more; calls under way go on."""
        if self._handlers.pop(method, None) is not None:
            self._send(RpcUnregister((method,)))

    def take(self, call: RpcCall) -> None:
        """Begin to answer ``call``, or refuse it at once."""
        handler = self._handlers.get(call.method)
        if handler is None:
            self._refuse(call, RpcErrorCode.NO_PROVIDER, f"{call.method} is not answered here")
        elif len(self._running) >= MAX_RUNNING:
            self._refuse(call, RpcErrorCode.OVERLOADED, f"{MAX_RUNNING} calls are under way")
        else:
            task = asyncio.create_task(self._answer(call, handler))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Give up the calls that are under way."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _answer(self, call: RpcCall, handler: Handler) -> None:
        _caller.set(call.caller.hex())
        try:
            async with asyncio.timeout(call.deadline_ms / 1000):
                result = handler(decode_value(call.payload))
                value = await result if inspect.isawaitable(result) else result
            answer: RpcResult | RpcError = RpcResult(call.call, encode_value(value))
        except TimeoutError:
            answer = _error(call, RpcErrorCode.DEADLINE_EXCEEDED, "the handler took too long")
        except Exception as error:  # noqa: BLE001  # whatever a handler raises goes to its caller
            said = str(error) if isinstance(error, MaculaError) else _described(error)
            answer = _error(call, RpcErrorCode.HANDLER_FAILED, said)
        self._send(answer)

    def _refuse(self, call: RpcCall, code: RpcErrorCode, detail: str) -> None:
        self._send(_error(call, code, detail))

    def _send(self, message: RpcResult | RpcError | RpcUnregister) -> None:
        # If the node is gone, so is whoever waited for this.
        with suppress(NodeUnreachable):
            self._connection.send_now(message)


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


def _error(call: RpcCall, code: RpcErrorCode, detail: str) -> RpcError:
    return RpcError(call.call, code, detail[:MAX_DETAIL])


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
