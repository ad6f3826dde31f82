"""One connection to a control socket: the handshake, then frames out and messages in.

It matches no answers and opens nothing anew. What is sent in one turn of the loop is written at
once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from maculaos.client.failures import NodeUnreachable
from maculaos.errors import RemoteProtocolError
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import ErrorCode

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.client.transport import Receiver
    from maculaos.wire.frames import Frame
    from maculaos.wire.messages import Message

PROTOCOL: Final = 2
CONNECT_DEADLINE_S: Final = 5.0
_HIGH_WATER_BYTES: Final = 1024 * 1024


class Connection(asyncio.Protocol):
    """A ``Transport`` over a Unix socket; made by ``open``."""

    def __init__(self, receiver: Receiver) -> None:
        self.ack: HandshakeAck
        self.is_full = False
        self._receiver = receiver
        self._loop = asyncio.get_running_loop()
        self._greeted: asyncio.Future[HandshakeAck] = self._loop.create_future()
        self._gone = asyncio.Event()
        self._is_handed_out = False
        self._frames = FrameReader()
        self._leaving: list[bytes] = []
        self._last_words = ""
        self._transport: asyncio.Transport

    @classmethod
    async def open(
        cls, path: Path | str, name: str, software: str, receiver: Receiver
    ) -> Connection:
        """Connect and shake hands; raises ``NodeUnreachable``."""
        loop = asyncio.get_running_loop()
        try:
            _, opened = await loop.create_unix_connection(lambda: cls(receiver), str(path))
        except OSError as error:
            why = "nobody listens there" if isinstance(error, ConnectionRefusedError) else None
            raise NodeUnreachable(
                f"no node on {path}: {why or error.strerror or error}",
                "start one with: macula start --config FILE",
            ) from error
        opened.send(Handshake(PROTOCOL, "", b"", name, (), software))
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                opened.ack = await opened._greeted
        except TimeoutError:
            await opened.close()
            what = f"the node on {path} did not answer within {CONNECT_DEADLINE_S:g} s"
            raise NodeUnreachable(what, "look at its log") from None
        except ConnectionError as error:
            what = f"the node on {path} is gone: {error}"
            raise NodeUnreachable(what, "look at its log") from None
        except BaseException:
            await opened.close()
            raise
        if opened._gone.is_set():
            raise NodeUnreachable(f"the node on {path} is gone: {opened._last_words}")
        opened._is_handed_out = True
        return opened

    def send(self, message: Message) -> None:
        """See ``Transport.send``."""
        if not self._leaving:
            self._loop.call_soon(self._flush)
        self._leaving.append(encode_message(message))

    async def close(self) -> None:
        """See ``Transport.close``; what the node does not read in time is given up."""
        if not self._transport.is_closing():
            self.send(Close(ErrorCode.NO_ERROR))
            self._flush()
            self._transport.close()
        try:
            async with asyncio.timeout(CONNECT_DEADLINE_S):
                await self._gone.wait()
        except TimeoutError:
            self._transport.abort()
            await self._gone.wait()

    # What asyncio tells, see ``asyncio.Protocol``.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._frames.feed(data):
                self._take(frame)
        except RemoteProtocolError as error:
            self._last_words = self._last_words or str(error)
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        reason = self._last_words or (str(exc) if exc else "it ended the connection")
        self._gone.set()
        self._last_words = reason
        if self._is_handed_out:
            self._receiver.lost(reason)
        elif not self._greeted.done():
            self._greeted.set_exception(ConnectionError(reason))
            # Whoever opened it may have given up; asyncio would complain that nobody asks.
            self._greeted.exception()

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        self._receiver.room()

    def _take(self, frame: Frame) -> None:
        message = decode_message(frame)
        if isinstance(message, Error | Close):
            # An answer without a number: nobody could say which request it refuses.
            said = message.detail if isinstance(message, Error) else message.reason
            self._last_words = said or f"code {message.code}"
            self._transport.close()
        elif self._greeted.done():
            self._receiver.take(message)
        elif isinstance(message, HandshakeAck):
            self._greeted.set_result(message)

    def _flush(self) -> None:
        leaving, self._leaving = self._leaving, []
        if leaving and not self._transport.is_closing():
            self._transport.write(b"".join(leaving))
