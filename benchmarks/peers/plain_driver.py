"""Plain aioquic as the limit: one stream each way, a length before each message, no mesh at all.

Datagrams of 8900 bytes, no pacing, and a socket that is read until it is empty: all that the
library leaves room for. Its own asyncio adapter is left aside. Who listens hears any number of
clients.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from aioquic._buffer import Buffer
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import pull_quic_header
from aioquic.quic.recovery import QuicPacketPacer

from peers.roles import CLOCK, Calling, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ALPN = "bench"
DATAGRAM_BYTES = 8900
SOCKET_BYTES = 4 << 20
BATCH = 64
# Written at once.
RUN_BYTES = 1 << 16
# Bytes written and not acknowledged.
UNDER_WAY = 1 << 20
CONNECTION_ID_BYTES = 8
WINDOW = 8 << 20


class _NoPacer(QuicPacketPacer):
    """Sends at once: the peer is on this machine."""

    def next_send_time(self, now: float) -> float:
        """See ``QuicPacketPacer``; aioquic itself takes ``None`` for now."""
        del now
        return None  # type: ignore[return-value]


class _Loop:
    """One UDP socket, its connections, and who hears what they bring."""

    def __init__(self, port: int, configuration: QuicConfiguration) -> None:
        self.connections: dict[Any, QuicConnection] = {}
        self.streams: dict[Any, int] = {}
        self.heard: Any = None
        self.changed = asyncio.Event()
        self._configuration = configuration
        self._parts: dict[Any, bytearray] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
        self._socket.bind(("127.0.0.1", port))
        self._loop.add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """End all connections, and free the port."""
        for connection in self.connections.values():
            connection.close()
        self.transmit()
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def dial(self, port: int) -> None:
        """Begin a connection."""
        remote = ("127.0.0.1", port)
        connection = self._add(remote, QuicConnection(configuration=self._configuration))
        connection.connect(remote, now=self._loop.time())
        self.transmit()

    def write(self, remote: Any, data: bytes) -> None:
        """Append to the one stream of that connection; ``transmit`` sends it."""
        connection = self.connections[remote]
        if remote not in self.streams:
            self.streams[remote] = connection.get_next_available_stream_id(is_unidirectional=True)
        connection.send_stream_data(self.streams[remote], data)

    def under_way(self, remote: Any) -> int:
        """Bytes that were written and are not acknowledged."""
        stream = self.connections[remote]._streams[self.streams[remote]]
        return len(stream.sender._buffer)

    def transmit(self) -> None:
        """Send what may go, and set the timer."""
        now, deadline = self._loop.time(), None
        for connection in self.connections.values():
            for datagram, remote in connection.datagrams_to_send(now=now):
                with suppress(BlockingIOError):
                    self._socket.sendto(datagram, remote)
            timer = connection.get_timer()
            if timer is not None and (deadline is None or timer < deadline):
                deadline = timer
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._fire)

    def _add(self, remote: Any, connection: QuicConnection) -> QuicConnection:
        connection._loss._pacer = _NoPacer(max_datagram_size=DATAGRAM_BYTES)
        self.connections[remote] = connection
        self._parts[remote] = bytearray()
        return connection

    def _fire(self) -> None:
        now = self._loop.time()
        for connection in self.connections.values():
            timer = connection.get_timer()
            if timer is not None and timer <= now:
                connection.handle_timer(now=now)
        self._drain()

    def _read(self) -> None:
        now = self._loop.time()
        for _ in range(BATCH):
            try:
                datagram, remote = self._socket.recvfrom(65_535)
            except BlockingIOError:
                break
            connection = self.connections.get(remote)
            if connection is None:
                header = pull_quic_header(
                    Buffer(data=datagram), host_cid_length=CONNECTION_ID_BYTES
                )
                accepted = QuicConnection(
                    configuration=self._configuration,
                    original_destination_connection_id=header.destination_cid,
                )
                connection = self._add(remote, accepted)
            connection.receive_datagram(datagram, remote, now=now)
        self._drain()

    def _drain(self) -> None:
        for remote, connection in tuple(self.connections.items()):
            while (event := connection.next_event()) is not None:
                if isinstance(event, events.StreamDataReceived):
                    self._cut(remote, event.data)
        self.transmit()
        self.changed.set()

    def _cut(self, remote: Any, data: bytes) -> None:
        held = self._parts[remote]
        held += data
        start, end = 0, len(held)
        while start + 4 <= end:
            stop = start + 4 + int.from_bytes(held[start : start + 4])
            if stop > end:
                break
            self.heard(remote, bytes(held[start + 4 : stop]))
            start = stop
        del held[:start]


class PlainPeer(Calling):
    """A socket; whoever subscribes or answers listens, the others dial."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        is_client = not self.task.listen
        settings = QuicConfiguration(
            alpn_protocols=[ALPN],
            connection_id_length=CONNECTION_ID_BYTES,
            is_client=is_client,
            max_data=WINDOW,
            max_stream_data=WINDOW,
            max_datagram_size=DATAGRAM_BYTES,
        )
        if is_client:
            settings.verify_mode = ssl.CERT_REQUIRED
            settings.load_verify_locations(str(self.task.folder / "ca.pem"))
        else:
            folder = self.task.folder
            settings.load_cert_chain(str(folder / "server.pem"), str(folder / "server.key"))
        settings.server_name = "localhost" if is_client else None
        self._loop = _Loop(self.task.listen, settings)
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._is_due = False
        self._numbers = itertools.count()
        self._loop.heard = self._answered
        for port in self.task.dial:
            self._loop.dial(port)
        try:
            yield
        finally:
            self._loop.close()

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""
        self._loop.heard = lambda _remote, payload: take(payload)

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        framed = [len(payload).to_bytes(4) + payload for payload in payloads]
        times = 1 if until_s == 0.0 else max(1, RUN_BYTES // sum(map(len, framed)))
        remotes, count, loop = tuple(self._loop.connections), 0, self._loop
        while True:
            data = b"".join(framed * times)
            for remote in remotes:
                loop.write(remote, data)
            loop.transmit()
            count += times * len(payloads)
            await asyncio.sleep(0)
            while any(loop.under_way(remote) > UNDER_WAY for remote in remotes):
                loop.changed.clear()
                await loop.changed.wait()
            if CLOCK() >= until_s:
                return count

    async def serve(self) -> None:
        """See ``Peer``."""

        def answer(remote: Any, payload: bytes) -> None:
            self._loop.write(remote, len(payload).to_bytes(4) + payload)

        self._loop.heard = answer

    async def call(self, payload: bytes) -> bytes:
        """See ``Peer``."""
        number = next(self._numbers)
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answered
        framed = (len(payload) + 4).to_bytes(4) + number.to_bytes(4) + payload
        self._loop.write(next(iter(self._loop.connections)), framed)
        if not self._is_due:
            # Whatever is asked within this turn of the loop leaves together.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._ask)
        return await answered

    def _ask(self) -> None:
        self._is_due = False
        self._loop.transmit()

    def _answered(self, _remote: Any, payload: bytes) -> None:
        waiting = self._answers.pop(int.from_bytes(payload[:4]), None)
        if waiting is not None and not waiting.done():
            waiting.set_result(payload[4:])


if __name__ == "__main__":
    main(PlainPeer)
