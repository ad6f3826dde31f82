"""Both kinds of peers that tests of links need: a recording node, and one that breaks the rules."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aioquic.quic import events

from maculaos.host.clock import SystemClock
from maculaos.quic.endpoint import Endpoint
from maculaos.quic.mutual_tls import MutualConnection, quic_configuration
from maculaos.quic.port import Port, SocketAddress
from maculaos.session import PROTOCOL_VERSION
from maculaos.wire.frames import FrameReader
from maculaos.wire.messages import Handshake, Message, decode_message, encode_message
from maculaos.wire.registry import StreamClass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from maculaos.addresses import Address
    from maculaos.quic.link import Link
    from maculaos.security.credentials import Credentials
    from maculaos.settings import NodeSettings

PATIENCE_S = 20.0


async def eventually(condition: Callable[[], object]) -> None:
    """Wait for what nobody announces; raises ``TimeoutError`` when patience ends."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.001)


class Changes:
    """Wakes whoever waits for a condition, each time something happens."""

    def __init__(self) -> None:
        self._happened = asyncio.Event()

    def note(self) -> None:
        """Something happened."""
        self._happened.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for ``condition``; raises ``TimeoutError`` when patience ends."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._happened.clear()
                await self._happened.wait()


class Recorder(Changes):
    """A link observer that remembers everything."""

    def __init__(self) -> None:
        super().__init__()
        self.up: list[Link] = []
        self.down: list[tuple[Link, str]] = []
        self.heard: list[Message] = []

    def link_up(self, link: Link) -> None:
        """See ``LinkObserver.link_up``."""
        self.up.append(link)
        self.note()

    def message_received(self, link: Link, message: Message) -> None:
        """See ``LinkObserver.message_received``."""
        assert link in self.up, "a message of a link that was never up"
        self.heard.append(message)
        self.note()

    def link_down(self, link: Link, reason: str) -> None:
        """See ``LinkObserver.link_down``."""
        assert link in self.up, "the end of a link that was never up"
        self.down.append((link, reason))
        self.note()


class Node:
    """An endpoint and its recorder."""

    def __init__(self, endpoint: Endpoint, recorder: Recorder) -> None:
        self.endpoint = endpoint
        self.recorder = recorder

    @property
    def address(self) -> str:
        """Where to dial it."""
        return str(self.endpoint.address)


@asynccontextmanager
async def node(settings: NodeSettings, credentials: Credentials) -> AsyncIterator[Node]:
    """A node on a free loopback port, closed at the end."""
    recorder = Recorder()
    endpoint = await Endpoint.open(settings, credentials, recorder, SystemClock(), port=0)
    try:
        yield Node(endpoint, recorder)
    finally:
        await endpoint.close("test over")


class RawPeer(Changes):
    """A QUIC client with good credentials that says exactly what a test tells it to."""

    def __init__(self, credentials: Credentials, *, has_certificate: bool = True) -> None:
        super().__init__()
        configuration = quic_configuration(credentials, is_client=True, idle_timeout_s=10.0)
        if not has_certificate:
            configuration.certificate = None
        self.quic = MutualConnection(credentials, SystemClock(), configuration=configuration)
        self.is_connected = False
        self.heard: list[Message] = []
        self.datagrams: list[bytes] = []
        self._readers: dict[int, FrameReader] = {}
        self._credentials = credentials
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._port: Port

    async def connect(self, address: Address) -> None:
        """Finish the TLS handshake; say nothing else."""
        self._port = await Port.open("127.0.0.1", 0, self._receive)
        self.quic.connect((address.host, address.port), now=self._loop.time())
        self._transmit()
        await self.until(lambda: self.is_connected)

    async def greet(self) -> None:
        """Say a good HANDSHAKE and wait for the answer."""
        who = self._credentials.identity
        hello = Handshake(PROTOCOL_VERSION, who.realm, who.node_id, who.name, (), "raw")
        self.say(2, bytes([StreamClass.CONTROL]) + encode_message(hello))
        await self.until(lambda: self.heard)

    def say(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Write ``data`` on that stream, whatever it means."""
        self.quic.send_stream_data(stream_id, data, end_stream=end)
        self._transmit()

    def throw(self, data: bytes) -> None:
        """Send ``data`` in a DATAGRAM frame, whatever it means."""
        self.quic.send_datagram_frame(data)
        self._transmit()

    async def move(self) -> None:
        """Go on from another port, with another connection id, as after a change of network."""
        self._port.close()
        self._port = await Port.open("127.0.0.1", 0, self._receive)
        self.quic.change_connection_id()

    def stop(self, stream_id: int) -> None:
        """Ask the node to say no more on that stream of its own."""
        self.quic.stop_stream(stream_id, 0)
        self._transmit()

    async def refusal(self) -> int:
        """The code with which the node closes the connection."""
        await self.until(lambda: self.quic.ending is not None)
        ending = self.quic.ending
        assert ending is not None
        return ending.error_code

    def vanish(self) -> None:
        """Be gone without a word, as after a power cut; may be called twice."""
        self._port.close()
        if self._timer is not None:
            self._timer.cancel()

    def _receive(self, datagram: bytes, sender: SocketAddress) -> None:
        self.quic.receive_datagram(datagram, sender, now=self._loop.time())
        self._transmit()

    def _transmit(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self._handle(event)
        for datagram, remote in self.quic.datagrams_to_send(now=self._loop.time()):
            self._port.send(datagram, remote)
        if self._timer is not None:
            self._timer.cancel()
        wanted = self.quic.get_timer()
        if wanted is not None:
            self._timer = self._loop.call_at(wanted, self._fire, wanted)
        self.note()

    def _fire(self, wanted: float) -> None:
        self.quic.handle_timer(now=max(wanted, self._loop.time()))
        self._transmit()

    def _handle(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.HandshakeCompleted):
            self.is_connected = True
        if isinstance(event, events.DatagramFrameReceived):
            self.datagrams.append(event.data)
        if isinstance(event, events.StreamDataReceived):
            reader = self._readers.get(event.stream_id)
            data = event.data
            if reader is None:
                reader = self._readers[event.stream_id] = FrameReader()
                data = data[1:]
            self.heard += map(decode_message, reader.feed(data))


@asynccontextmanager
async def raw_peer(credentials: Credentials, address: Address) -> AsyncIterator[RawPeer]:
    """A connected ``RawPeer`` that vanishes at the end."""
    peer = RawPeer(credentials)
    await peer.connect(address)
    try:
        yield peer
    finally:
        peer.vanish()
