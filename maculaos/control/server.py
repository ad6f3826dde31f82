"""Clients of the control socket: handshake, frames in, frames out, and the bounds of each.

The node is told when much waits for a client, and hands it no more events until there is room. What
comes all the same and does not fit costs events that need not be confirmed first (dropped and
counted); anything else disconnects the client. A client that breaks the protocol is told
why, once, and disconnected. What is said to one client in one turn of the loop is written at once.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from maculaos.control import socket_file
from maculaos.control.inside import Inside
from maculaos.wire.events import Delivery, Post, Taken, Unwatch, Watch
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, FrameError, FrameReader
from maculaos.wire.messages import (
    Close,
    Error,
    Handshake,
    HandshakeAck,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import WIRE_VERSION, ErrorCode

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from maculaos.control.inside import Program
    from maculaos.settings import LimitSettings
    from maculaos.wire.frames import Frame
    from maculaos.wire.messages import Message

PROTOCOL: Final = 2
HANDSHAKE_DEADLINE_S: Final = 5.0
# A greeting is small; nobody may make us hold more before it.
MAX_GREETING_SIZE: Final = 16 * 1024
# Parts of what may wait for a client: beyond the first it is full, down to the second it has room.
_FULL_PART: Final = 4
_ROOM_PART: Final = 16
# How long a client that we let go may take to read what is left for it.
FLUSH_DEADLINE_S: Final = 1.0
# What a client may say; everything else belongs on links between nodes.
_FROM_CLIENTS: Final = frozenset({
    Post, Watch, Unwatch, Taken,
    RpcCall, RpcResult, RpcError, RpcRegister, RpcUnregister, RpcCancel, RpcCredit,
})  # fmt: skip


class ControlObserver(Protocol):
    """Who decides what clients get; called from the event loop, must not block."""

    def client_up(self, client: int, software: str) -> None:
        """A client has shaken hands; its number is never used again."""
        ...

    def client_message(self, client: int, message: Message) -> None:
        """That client said something that clients may say."""
        ...

    def client_full(self, client: int) -> None:
        """Much waits for that client; called while the node has it sent to."""
        ...

    def client_room(self, client: int) -> None:
        """There is room again for a client that was full."""
        ...

    def client_down(self, client: int, reason: str) -> None:
        """That client is gone; nothing more will come from it."""
        ...


class ControlSocket:
    """The listening socket and its clients."""

    def __init__(self, observer: ControlObserver, limits: LimitSettings, ack: HandshakeAck) -> None:
        self.observer = observer
        self.limits = limits
        self.ack = ack
        self.events_dropped = 0
        self._clients: dict[int, _Client | Inside] = {}
        self._connected: set[_Client] = set()
        # Bytes of frames that clients have begun and not finished.
        self._unfinished_bytes = 0
        self._numbers = 0
        # What hands over words that are gathered for clients, each once.
        self._gathered: list[Callable[[], None]] = []
        self._path: Path | None = None
        self._listening: socket.socket | None = None
        self._server: asyncio.Server | None = None

    @classmethod
    async def open(
        cls, path: Path, limits: LimitSettings, ack: HandshakeAck, observer: ControlObserver
    ) -> Self:
        """Listen at ``path``; ``ack`` is the node's half of every handshake.

        Raises ``UsageError`` (``AlreadyRunning`` if a node lives there).
        """
        opened = cls(observer, limits, ack)
        opened._path = path
        opened._listening = await socket_file.listen(path, limits.clients)
        loop = asyncio.get_running_loop()
        try:
            opened._server = await loop.create_unix_server(
                lambda: _Client(opened), sock=opened._listening
            )
        except BaseException:
            opened._listening.close()
            socket_file.remove(path)
            raise
        return opened

    def send(self, client: int, message: Message) -> bool:
        """Put ``message`` on the queue of that client; False if it did not fit or is gone."""
        found = self._clients.get(client)
        return found is not None and found.send(message)

    def close_client(self, client: int, code: ErrorCode, reason: str) -> None:
        """Say goodbye to that client; ``client_down`` follows."""
        if (found := self._clients.get(client)) is not None:
            found.end(Close(code, reason), reason)

    def find(self, client: int) -> _Client | Inside | None:
        """That client, to hold it back or let it go on; None if it is gone."""
        return self._clients.get(client)

    def enter_inside(self, program: Program, software: str) -> Inside:
        """A program of this very process comes in, without a socket; our end of it.

        It ends when that is closed, or by what the node tells it.
        """
        number = self._number()
        leave = partial(self._leave_inside, number)
        inside = Inside(number, program, leave, self.soon)
        self._clients[number] = inside
        self.observer.client_up(number, software)
        return inside

    def soon(self, hand_over: Callable[[], None]) -> None:
        """Call that when the loop comes round, or before; see ``hand_over``."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self.hand_over)
        self._gathered.append(hand_over)

    def hand_over(self) -> None:
        """Let clients have what is gathered for them; not from inside of the node's work."""
        gathered, self._gathered = self._gathered, []
        for each in gathered:
            each()

    async def close(self) -> None:
        """End every client, stop listening and remove the socket file; returns within 2 s."""
        if self._server is None or self._path is None:
            return
        # First the name, so that nobody finds a node that is about to go.
        socket_file.remove(self._path)
        self._server.close()
        for client in [*self._connected, *self._clients.values()]:
            client.end(Close(ErrorCode.SHUTTING_DOWN, "the node stops"), "the node stops")
        gone = [client.gone.wait() for client in list(self._connected)]
        await asyncio.gather(*gone)

    def admit(self, client: _Client) -> str:
        """Why that connection may not stay, or nothing."""
        self._connected.add(client)
        if len(self._connected) > self.limits.clients:
            return f"{self.limits.clients} clients are connected"
        return ""

    def enter(self, client: _Client) -> int:
        """Number a client that has shaken hands."""
        number = self._number()
        self._clients[number] = client
        return number

    def hold(self, more_bytes: int) -> None:
        """Account for unfinished frames; together they may hold as much as one queue.

        Beyond it the client that holds the most has to go: the others may finish.
        """
        self._unfinished_bytes += more_bytes
        if self._unfinished_bytes > self.limits.client_queue_bytes:
            largest = max(self._connected, key=lambda each: each.unfinished_bytes)
            reason = f"more than {self.limits.client_queue_bytes} bytes of unfinished frames"
            largest.end(Error(ErrorCode.LIMIT_EXCEEDED, reason), reason)

    def leave(self, client: _Client, number: int | None, reason: str) -> None:
        """Forget a connection that is gone."""
        self._connected.discard(client)
        if number is not None:
            del self._clients[number]
            self.observer.client_down(number, reason)

    def _leave_inside(self, number: int, reason: str) -> None:
        if self._clients.pop(number, None) is not None:
            self.observer.client_down(number, reason)

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


class _Client(asyncio.Protocol):
    """One connection: waits for a handshake, then passes messages in both directions."""

    def __init__(self, owner: ControlSocket) -> None:
        self.gone = asyncio.Event()
        self._owner = owner
        self._reader = FrameReader(MAX_GREETING_SIZE)
        self.unfinished_bytes = 0
        self._number: int | None = None
        # Frames of this turn of the loop: one write for all of them.
        self._leaving: list[bytes] = []
        self._leaving_bytes = 0
        self._is_full = False
        # So many hold this client back.
        self._holds = 0
        bound = owner.limits.client_queue_bytes
        self._full_bytes, self._room_bytes = bound // _FULL_PART, bound // _ROOM_PART
        self._reason = "the client ended the connection"
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(self._room_bytes, self._room_bytes)
        near = transport.get_extra_info("socket")
        socket_file.widen(near)
        refusal = self._owner.admit(self)
        if not socket_file.peer_may_enter(near):
            self.end(Error(ErrorCode.NOT_ALLOWED_YET, "another user's node"), "another user")
        elif refusal:
            self.end(Error(ErrorCode.LIMIT_EXCEEDED, refusal), refusal)
        else:
            self._timer = self._after(HANDSHAKE_DEADLINE_S, self._too_late)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._reader.feed(data)
            for frame in frames:
                if self._transport.is_closing():
                    return
                self._take(frame)
        except FrameError as error:
            self.end(Error(error.code, error.detail, WIRE_VERSION), str(error))
        if not self._transport.is_closing():
            self._hold(self._reader.pending_bytes)

    def eof_received(self) -> None:
        self._let_go()

    def resume_writing(self) -> None:
        self._tell_room()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._hold(0)
        self._owner.leave(self, self._number, str(exc) if exc else self._reason)
        self.gone.set()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for this client to read."""
        return self._transport.get_write_buffer_size() + self._leaving_bytes

    def send(self, message: Message) -> bool:
        """Queue ``message`` if it fits; events leave an eighth of the queue to answers."""
        if self._transport.is_closing():
            return False
        try:
            data = encode_message(message)
        except FrameError as error:
            self.end(Error(error.code, error.detail), str(error))
            return False
        bound = self._owner.limits.client_queue_bytes
        events = _droppable(message)
        room = bound - bound // 8 if events else bound
        waiting = self.queued_bytes + len(data)
        if waiting <= room:
            self._write(data)
            if waiting > self._full_bytes and not self._is_full:
                self._tell_full()
            return True
        if events:
            self._owner.events_dropped += events
        else:
            reason = f"more than {bound} bytes wait for this client"
            self.end(Error(ErrorCode.LIMIT_EXCEEDED, reason), reason)
        return False

    def pause(self) -> None:
        """Read no more from this client for now; see ``Held``."""
        self._holds += 1
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read from this client again, if nobody else holds it back."""
        self._holds -= 1
        if not self._holds and not self._transport.is_closing():
            self._transport.resume_reading()

    def end(self, last_words: Error | Close, reason: str) -> None:
        """Say ``last_words`` and close; what is not read in time is thrown away."""
        if self._transport.is_closing():
            return
        self._reason = reason
        self._reader = FrameReader(0)
        self._write(encode_message(last_words))
        self._let_go()

    def _let_go(self) -> None:
        """Close; what is left for the client and not read in time is thrown away."""
        self._hold(0)
        self._flush()
        self._transport.close()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._after(FLUSH_DEADLINE_S, self._transport.abort)

    def _write(self, data: bytes) -> None:
        if not self._leaving:
            self._owner.soon(self._flush)
        self._leaving.append(data)
        self._leaving_bytes += len(data)

    def _flush(self) -> None:
        leaving, self._leaving, self._leaving_bytes = self._leaving, [], 0
        if leaving and not self._transport.is_closing():
            self._transport.write(b"".join(leaving))
            if self._is_full and self.queued_bytes <= self._room_bytes:
                # The system took it all at once: there is no resuming to come.
                self._tell_room()

    def _tell_full(self) -> None:
        if self._number is not None:
            self._is_full = True
            self._owner.observer.client_full(self._number)

    def _tell_room(self) -> None:
        if self._is_full and self._number is not None and not self._transport.is_closing():
            self._is_full = False
            self._owner.observer.client_room(self._number)

    def _hold(self, size: int) -> None:
        """So many bytes of a frame wait here for the rest of it."""
        before, self.unfinished_bytes = self.unfinished_bytes, size
        if size != before:
            self._owner.hold(size - before)

    def _take(self, frame: Frame) -> None:
        message = decode_message(frame)
        if self._number is None:
            self._shake_hands(message)
        elif type(message) in _FROM_CLIENTS:
            self._owner.observer.client_message(self._number, message)
        elif isinstance(message, Close):
            self._let_go()
        else:
            kind = type(message).__name__
            raise FrameError(ErrorCode.MALFORMED, f"{kind} belongs on links between nodes")

    def _shake_hands(self, message: Message) -> None:
        if not isinstance(message, Handshake):
            raise FrameError(ErrorCode.NOT_ALLOWED_YET, "HANDSHAKE comes first")
        if message.protocol != PROTOCOL:
            raise FrameError(ErrorCode.UNSUPPORTED_VERSION, f"protocol {message.protocol}")
        if self._timer is not None:
            self._timer.cancel()
        self._reader.max_payload_size = MAX_PAYLOAD_SIZE
        self._number = self._owner.enter(self)
        self.send(self._owner.ack)
        self._owner.observer.client_up(self._number, message.software or message.name)

    def _too_late(self) -> None:
        detail = f"no HANDSHAKE within {HANDSHAKE_DEADLINE_S:g} s"
        self.end(Error(ErrorCode.HANDSHAKE_TIMEOUT, detail), detail)

    def _after(self, seconds: float, then: Callable[[], None]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, then)


def _droppable(message: Message) -> int:
    """How many events in ``message`` may be lost: those that nobody waits to have confirmed."""
    if isinstance(message, Delivery) and not message.number:
        return len(message.payloads)
    return 0
