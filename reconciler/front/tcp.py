"""TCP connections, passed on: one client, one instance, and the bytes between them.

Each end may stop sending and go on listening (half-close). Who does not read holds up the other
end: no more than ``BUFFER_BYTES`` and one read wait for it. A connection that broke at one end is
reset at the other, so that nobody takes half an answer for a whole one.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from reconciler.front.bounds import AGAIN_S, BACKLOG, BUFFER_BYTES, CONNECT_S, PATIENCE_S

if TYPE_CHECKING:
    from maculaos.host.clock import Clock
    from reconciler.front.balance import Balance, Endpoint
    from reconciler.front.bounds import Room

# On, and no time: what is closed then is reset.
_RESET: Final = struct.pack("ii", 1, 0)


class TcpPort:
    """Listens at one place, until it is closed; what is open then goes on."""

    def __init__(self, balance: Balance, room: Room, clock: Clock) -> None:
        self.balance = balance
        self.room = room
        self.clock = clock
        # Set and renewed when there may be somebody to go to.
        self.news = asyncio.Event()
        self.conversations: set[Conversation] = set()
        self._server: asyncio.Server | None = None
        self._listening: asyncio.Task[None] | None = None

    def listen(self, bound: socket.socket) -> None:
        """Take connections at ``bound``, which is ours from now on."""
        bound.listen(BACKLOG)
        self._listening = asyncio.create_task(self._listen(bound))

    async def _listen(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Conversation(self).client, sock=bound, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Take no more connections."""
        if self._listening is not None:
            await self._listening
        if self._server is not None:
            self._server.close()
        self.switched()

    def switched(self) -> None:
        """Others take traffic now."""
        self.news.set()
        self.news = asyncio.Event()

    def sweep(self, now: float) -> None:
        """Cut what was silent for too long, and what goes to who is over."""
        over = set(self.balance.over(now))
        for each in [*self.conversations]:
            if each.endpoint in over or now - each.touched_at > self.room.idle_s:
                each.cut()

    def cut(self) -> None:
        """Cut everything."""
        for each in [*self.conversations]:
            each.cut()


class Conversation:
    """One connection from a client and the one to an instance that goes with it."""

    def __init__(self, port: TcpPort) -> None:
        self.port = port
        self.client = _End(self)
        self.server = _End(self)
        self.client.peer, self.server.peer = self.server, self.client
        self.endpoint: Endpoint | None = None
        self.touched_at = port.clock.monotonic()
        self._is_over = False
        self._bringing: asyncio.Task[None] | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """The client is there: find somebody for it, unless there is no room."""
        if not self.port.room.enter():
            self._is_over = True
            _reset(transport)
            return
        self.port.conversations.add(self)
        transport.pause_reading()
        self._bringing = asyncio.create_task(self._bring())

    async def _bring(self) -> None:
        """Connect to an instance; of those that cannot be reached the next one is tried."""
        port, clock = self.port, self.port.clock
        give_up_at = clock.monotonic() + PATIENCE_S
        tried: set[Endpoint] = set()
        while (now := clock.monotonic()) < give_up_at and not self._is_over:
            endpoint = port.balance.choose(now, tried)
            if endpoint is None:
                await self._pause(AGAIN_S if tried else give_up_at - now)
                tried.clear()
                continue
            self.endpoint = endpoint
            if await self._reach(endpoint, give_up_at - now):
                return
            if self.endpoint is not None:
                self.endpoint = None
                port.balance.fail(endpoint, clock.monotonic())
            tried.add(endpoint)
        self.cut()

    async def _pause(self, most_s: float) -> None:
        try:
            async with asyncio.timeout(most_s):
                await self.port.news.wait()
        except TimeoutError:
            return

    async def _reach(self, endpoint: Endpoint, most_s: float) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(min(CONNECT_S, most_s)):
                await loop.create_connection(lambda: self.server, endpoint.address, endpoint.port)
        except OSError:
            # A timeout is one, too.
            return False
        if self._is_over:
            self.server.abort()
        elif self.client.transport is not None:
            self.client.transport.resume_reading()
        return True

    def touch(self) -> None:
        """Something passed."""
        self.touched_at = self.port.clock.monotonic()

    def finish(self) -> None:
        """Both ends said all that they had to: end it when that has gone out."""
        for end in (self.client, self.server):
            if end.transport is not None:
                end.transport.close()

    def lost(self, end: _End) -> None:
        """One end is gone: so is the other, with what it did not take, unless both were done."""
        other = cast("_End", end.peer)
        is_done = end.has_said_all and other.has_said_all
        if not is_done or other.transport is None:
            other.abort()
            self._end()
        elif other.is_lost:
            self._end()

    def cut(self) -> None:
        """End it at once, at both ends."""
        self.client.abort()
        self.server.abort()
        self._end()

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        self.port.conversations.discard(self)
        self.port.room.leave()
        if self.endpoint is not None:
            self.port.balance.release(self.endpoint)
            self.endpoint = None


class _End(asyncio.Protocol):
    """One of the two connections of a conversation."""

    def __init__(self, conversation: Conversation) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _End | None = None
        self.has_said_all = False
        self.is_lost = False
        self._conversation = conversation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_BYTES)
        if self is self._conversation.client:
            self._conversation.begin(self.transport)

    def data_received(self, data: bytes) -> None:
        self._conversation.touch()
        other = self._other()
        if other is not None:
            other.write(data)

    def eof_received(self) -> bool:
        self.has_said_all = True
        self._conversation.touch()
        other = self._other()
        if other is not None and other.can_write_eof():
            other.write_eof()
        if self.peer is not None and self.peer.has_said_all:
            self._conversation.finish()
        return True

    def pause_writing(self) -> None:
        other = self._other()
        if other is not None:
            other.pause_reading()

    def resume_writing(self) -> None:
        other = self._other()
        if other is not None:
            other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True
        self._conversation.lost(self)

    def abort(self) -> None:
        """Reset it, if it is there."""
        if self.transport is not None and not self.is_lost:
            _reset(self.transport)

    def _other(self) -> asyncio.Transport | None:
        other = self.peer
        return None if other is None or other.is_lost else other.transport


def _reset(transport: asyncio.Transport) -> None:
    held = transport.get_extra_info("socket")
    if held is not None and held.fileno() >= 0:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()
