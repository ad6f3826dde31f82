"""One connection to a control socket: handshake, frames, and answers matched to requests."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from maculaos.errors import MaculaError, RemoteProtocolError, UsageError
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    RpcError,
    RpcResult,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from msgspec import Raw

    from maculaos.wire.messages import Message

PROTOCOL: Final = 1
CONNECT_DEADLINE_S: Final = 5.0
MAX_PENDING: Final = 10_000
_READ_SIZE: Final = 256 * 1024


class NodeUnreachable(UsageError):
    """No node answers on that socket, or the one that did is gone."""


class CallFailed(MaculaError):
    """The node, or whoever it asked, has no result; ``code`` is a name such as ``NO_PROVIDER``."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class Connection:
    """Sends messages, and gives what is no answer to ``on_message``."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: Path | str
    ) -> None:
        self.on_message: Callable[[Message], None] = lambda _message: None
        self.on_lost: Callable[[NodeUnreachable], None] = lambda _why: None
        self._reader = reader
        self._writer = writer
        self._path = path
        self._frames = FrameReader()
        self._pending: dict[int, asyncio.Future[Raw]] = {}
        self._requests = 0
        self._lost: NodeUnreachable | None = None
        self._ended = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path | str, name: str, software: str) -> tuple[Self, HandshakeAck]:
        """Connect and shake hands; raises ``NodeUnreachable``."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(path))
        except OSError as error:
            why = "nobody listens there" if isinstance(error, ConnectionRefusedError) else None
            raise NodeUnreachable(
                f"no node on {path}: {why or error.strerror or error}",
                "start one with: macula start --config FILE",
            ) from error
        opened = cls(reader, writer, path)
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                ack = await opened._shake_hands(Handshake(PROTOCOL, "", b"", name, (), software))
        except TimeoutError:
            await opened.close()
            what = f"the node on {path} did not answer within {CONNECT_DEADLINE_S:g} s"
            raise NodeUnreachable(what, "look at its log") from None
        except BaseException:
            await opened.close()
            raise
        return opened, ack

    def listen(self) -> None:
        """Begin to pass on what the node says; set ``on_message`` and ``on_lost`` before."""
        self._listener = asyncio.create_task(self._listen())

    async def send(self, message: Message) -> None:
        """Send, and wait for room if much is under way; raises ``NodeUnreachable``."""
        self.send_now(message)
        try:
            await self._writer.drain()
        except OSError as error:
            raise self._gone(str(error)) from error

    def send_now(self, message: Message) -> None:
        """Put ``message`` on its way; raises ``NodeUnreachable`` if the node is gone."""
        if self._lost is not None:
            raise self._lost
        self._writer.write(encode_message(message))

    async def request(self, make: Callable[[int], Message], timeout_s: float) -> Raw:
        """Send ``make(number)`` and wait for the answer of that number.

        Raises ``CallFailed`` for an answer that is an error or does not come within
        ``timeout_s``, ``NodeUnreachable`` if the node goes meanwhile.
        """
        if len(self._pending) >= MAX_PENDING:
            raise CallFailed(RpcErrorCode.OVERLOADED.name, f"{MAX_PENDING} requests are waiting")
        self._requests += 1
        number = self._requests
        self._pending[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self.send(make(number))
                return await self._pending[number]
        except TimeoutError:
            code = RpcErrorCode.DEADLINE_EXCEEDED.name
            raise CallFailed(code, f"no answer within {timeout_s:g} s") from None
        finally:
            del self._pending[number]

    async def wait_lost(self) -> NodeUnreachable:
        """Wait until the node is gone; return why."""
        await self._ended.wait()
        return self._lost or self._gone("it ended the connection")

    async def close(self) -> None:
        """Say goodbye and end; can be repeated."""
        if self._lost is None and self._listener is not None:
            with suppress(OSError):
                self._writer.write(encode_message(Close(ErrorCode.NO_ERROR)))
        self._give_up("this program closed the connection")
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                await self._writer.wait_closed()

    async def _shake_hands(self, handshake: Handshake) -> HandshakeAck:
        self._writer.write(encode_message(handshake))
        while True:
            try:
                data = await self._reader.read(_READ_SIZE)
                messages = [decode_message(frame) for frame in self._frames.feed(data)]
            except (OSError, RemoteProtocolError) as error:
                raise self._gone(str(error)) from error
            for message in messages:
                if isinstance(message, HandshakeAck):
                    return message
                if isinstance(message, (Error, Close)):
                    raise self._gone(_last_words(message))
            if not data:
                raise self._gone("it ended the connection")

    async def _listen(self) -> None:
        try:
            while data := await self._reader.read(_READ_SIZE):
                for frame in self._frames.feed(data):
                    self._take(decode_message(frame))
        except (OSError, RemoteProtocolError) as error:
            self._give_up(str(error))
        self._give_up("it ended the connection")

    def _take(self, message: Message) -> None:
        match message:
            case RpcResult():
                if (waiting := self._waiting(message.call)) is not None:
                    waiting.set_result(message.payload)
            case RpcError():
                if (waiting := self._waiting(message.call)) is not None:
                    waiting.set_exception(CallFailed(_name(message.code), message.detail))
            case Error() | Close():
                # An answer without a number: nobody could say which request it refuses.
                self._give_up(_last_words(message))
            case _:
                self.on_message(message)

    def _waiting(self, number: int) -> asyncio.Future[Raw] | None:
        """Who waits for that answer; None if nobody does any more."""
        waiting = self._pending.get(number)
        return None if waiting is None or waiting.done() else waiting

    def _give_up(self, reason: str) -> None:
        if self._lost is not None:
            return
        self._lost = self._gone(reason)
        self._ended.set()
        for waiting in self._pending.values():
            if not waiting.done():
                waiting.set_exception(self._gone(reason))
        self.on_lost(self._lost)

    def _gone(self, reason: str) -> NodeUnreachable:
        return NodeUnreachable(f"the node on {self._path} is gone: {reason}", "look at its log")


def _last_words(message: Error | Close) -> str:
    said = message.detail if isinstance(message, Error) else message.reason
    return said or f"code {message.code}"


def _name(code: int) -> str:
    try:
        return RpcErrorCode(code).name
    except ValueError:
        return f"code {code}"
