"""Each bound, attacked over real sockets, while an honest node still links within a second."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest

from loopback import CONTROL, open_node, run
from maculaos.host.clock import SystemClock
from maculaos.quic.mutual_tls import MAX_STREAMS, MutualConnection, quic_configuration
from maculaos.session import MAX_GREETING_SIZE
from maculaos.settings import LimitSettings, LinkSettings, ListenSettings
from maculaos.wire.frames import HEADER, MAX_PAYLOAD_SIZE
from maculaos.wire.messages import Ping, encode_message
from maculaos.wire.registry import ErrorCode, StreamClass
from mesh_peers import eventually, raw_peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from credentials import RealmFolder
    from maculaos.security.credentials import Credentials
    from mesh_peers import Node

# What an honest node must not wait longer for, whoever else knocks.
WITHIN_S: Final = 1.0
BURN_S: Final = 0.03
FLOOD: Final = 200
needs_all_of_127 = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8"
)


def first_datagrams(credentials: Credentials, node: Node, count: int) -> list[bytes]:
    """The starts of that many handshakes, made before the attack so that it is quick."""
    address = (node.endpoint.address.host, node.endpoint.address.port)
    made = []
    for _ in range(count):
        configuration = quic_configuration(credentials, is_client=True, idle_timeout_s=10.0)
        quic = MutualConnection(credentials, SystemClock(), configuration=configuration)
        quic.connect(address, now=0.0)
        made.append(bytes(quic.datagrams_to_send(now=0.0)[0][0]))
    return made


class Strangers:
    """Sockets that knock and answer nothing."""

    def __init__(self, node: Node, sources: Sequence[str], stack: ExitStack) -> None:
        self._target = (node.endpoint.address.host, node.endpoint.address.port)
        self.sent = 0
        self.sockets = []
        for source in sources:
            opened = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            opened.setblocking(False)
            opened.bind((source, 0))
            self.sockets.append(opened)

    def knock(self, datagrams: list[bytes]) -> None:
        """Send them, from each source in turn."""
        for number, datagram in enumerate(datagrams):
            self.sockets[number % len(self.sockets)].sendto(datagram, self._target)
            self.sent += len(datagram)

    def received(self) -> int:
        """How many bytes came back and were not counted yet."""
        total = 0
        for opened in self.sockets:
            try:
                while True:
                    total += len(opened.recv(65_535))
            except BlockingIOError:
                pass
        return total


def patience_s() -> float:
    """``WITHIN_S``, and more where other processes take the processor away right now."""
    wall, busy = time.perf_counter(), time.process_time()
    while time.process_time() - busy < BURN_S:
        pass
    slowdown = (time.perf_counter() - wall) / BURN_S
    return WITHIN_S * max(1.0, 2 * slowdown - 1)


async def link_quickly(honest: Node, victim: Node) -> None:
    """Dial, and fail if it takes too long."""
    async with asyncio.timeout(patience_s()):
        link = await honest.endpoint.dial(victim.address)
    assert link.is_established


@asynccontextmanager
async def quiet_peers(credentials: Credentials, node: Node, count: int) -> AsyncIterator[None]:
    """That many peers who finish TLS with good certificates and then say nothing."""
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await stack.enter_async_context(raw_peer(credentials, node.endpoint.address))
        yield


@needs_all_of_127
@pytest.mark.parametrize("sources", [1, 50], ids=["one source", "many sources"])
def test_spoofed_initials_earn_less_than_three_times_their_bytes(
    realm: RealmFolder, sources: int
) -> None:
    async def main() -> None:
        # A handshake may last as long as the test: its answers are sent again and again.
        link = LinkSettings(handshake_timeout_s=20.0)
        async with (
            open_node(realm, "n1", link=link) as victim,
            open_node(realm, "n2") as honest,
        ):
            with ExitStack() as stack:
                spoofed = [f"127.0.9.{n + 1}" for n in range(sources)]
                strangers = Strangers(victim, spoofed, stack)
                datagrams = first_datagrams(realm.credentials("n3"), victim, FLOOD)
                strangers.knock(datagrams)
                await link_quickly(honest, victim)
                endpoint = victim.endpoint
                await eventually(lambda: endpoint.retries >= FLOOD - LimitSettings().links // 4)
                assert endpoint.pending <= LimitSettings().pending_handshakes // 2
                # Long enough for a few probe timeouts of what was let in.
                answered = 0
                for _ in range(20):
                    await asyncio.sleep(0.05)
                    answered += strangers.received()
                assert 0 < answered <= 3 * strangers.sent
                assert answered < strangers.sent

    run(main())


def test_first_datagrams_above_the_rate_cost_no_memory(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(handshakes_per_s=4)
        async with (
            open_node(realm, "n1", limits=limits) as victim,
            open_node(realm, "n2") as honest,
        ):
            with ExitStack() as stack:
                strangers = Strangers(victim, ["127.0.0.1"], stack)
                strangers.knock(first_datagrams(realm.credentials("n3"), victim, 40))
                await eventually(lambda: victim.endpoint.retries >= 30)
                assert victim.endpoint.pending <= 10
                await link_quickly(honest, victim)

    run(main())


def test_made_up_tokens_are_refused(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as victim:
            (datagram,) = first_datagrams(realm.credentials("n3"), victim, 1)
            source_at = 6 + datagram[5]
            token_at = source_at + 1 + datagram[source_at]
            assert datagram[token_at] == 0
            forged = datagram[:token_at] + b"\x20" + bytes(32) + datagram[token_at + 1 :]
            with ExitStack() as stack:
                Strangers(victim, ["127.0.0.1"], stack).knock([forged])
                await eventually(lambda: victim.endpoint.refused["bad address token"] == 1)
                assert victim.endpoint.pending == 0

    run(main())


def test_slow_handshakes_end_and_lock_nobody_out(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=4)
        link = LinkSettings(handshake_timeout_s=1.0)
        async with (
            open_node(realm, "n1", limits=limits, link=link) as victim,
            open_node(realm, "n2") as honest,
            # They prove where they are, and who.
            quiet_peers(realm.credentials("n3"), victim, 6),
        ):
            assert victim.endpoint.pending <= 4
            await link_quickly(honest, victim)
            assert victim.endpoint.refused["too many handshakes"] >= 2
            # Silence after the handshake ends by itself.
            await eventually(lambda: victim.endpoint.pending == 0)
            assert victim.endpoint.refused["handshake timeout"] >= 1

    run(main())


def test_connections_of_one_source_are_capped(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_per_source=2)
        async with (
            open_node(realm, "n1", limits=limits) as victim,
            open_node(realm, "n2") as honest,
            quiet_peers(realm.credentials("n3"), victim, 8),
        ):
            # Two that proved nothing, and two that returned a token.
            assert victim.endpoint.pending <= 4
            assert victim.endpoint.refused["too many handshakes"] == 4
            await link_quickly(honest, victim)

    run(main())


def test_streams_are_capped(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as victim,
            open_node(realm, "n2") as honest,
            raw_peer(realm.credentials("n3"), victim.endpoint.address) as peer,
        ):
            await peer.greet()
            # As if the limits were none.
            peer.quic._remote_max_streams_uni = peer.quic._remote_max_streams_bidi = 10_000
            # Streams that never say their class cost the least, and so were the most.
            for number in range(MAX_STREAMS * 4):
                peer.quic.send_stream_data(4 * number + 2, b"")
                peer.quic._streams[4 * number + 2].sender.write(b"")
            peer.say(4 * MAX_STREAMS + 2, b"\x01")
            assert await peer.refusal() == 0x04  # STREAM_LIMIT_ERROR (RFC 9000, 20.1)
            await link_quickly(honest, victim)

    run(main())


def test_streams_in_both_directions_are_not_opened(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as victim,
            raw_peer(realm.credentials("n3"), victim.endpoint.address) as peer,
        ):
            await peer.greet()
            peer.quic._remote_max_streams_bidi = 1
            peer.say(0, b"\x00")
            assert await peer.refusal() == 0x04

    run(main())


@pytest.mark.parametrize(
    ("greets", "size"), [(False, MAX_GREETING_SIZE + 1), (True, MAX_PAYLOAD_SIZE + 1)]
)
def test_oversized_frames_end_the_link(realm: RealmFolder, greets: bool, size: int) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as victim,
            open_node(realm, "n2") as honest,
            raw_peer(realm.credentials("n3"), victim.endpoint.address) as peer,
        ):
            if greets:
                await peer.greet()
            opening = b"" if greets else bytes([StreamClass.CONTROL])
            peer.say(2, opening + HEADER.pack(1, 0x04, 0, size))
            assert await peer.refusal() == ErrorCode.TOO_LARGE
            await link_quickly(honest, victim)

    run(main())


def test_bytes_before_the_greeting_are_capped(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as victim,
            raw_peer(realm.credentials("n3"), victim.endpoint.address) as peer,
        ):
            # All but the first byte, so that nothing is ever a frame and all of it is kept.
            stream = peer.quic._get_or_create_stream_for_send(2)
            stream.sender.write(bytes(1_000_000))
            stream.sender._pending.subtract(0, 1)
            peer.say(6, b"\x01")
            assert await peer.refusal() == ErrorCode.LIMIT_EXCEEDED
            assert victim.endpoint.refused["limit exceeded"] == 1

    run(main())


@needs_all_of_127
def test_known_sources_come_in_while_strangers_hold_every_place(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=2)
        elsewhere = ListenSettings(address="127.0.0.2", port=4701)
        async with (
            open_node(realm, "n1", limits=limits) as victim,
            open_node(realm, "n2", listen=elsewhere) as honest,
        ):
            link = await honest.endpoint.dial(victim.address)
            link.close(ErrorCode.NO_ERROR, "back soon")
            await victim.recorder.until(lambda: victim.recorder.down)
            async with quiet_peers(realm.credentials("n3"), victim, 4):
                await link_quickly(honest, victim)
                assert victim.endpoint.links[0].send(Ping(1), CONTROL)

    run(main())


def test_nothing_that_was_said_before_the_greeting_is_heard(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as victim,
            raw_peer(realm.credentials("n3"), victim.endpoint.address) as peer,
        ):
            peer.say(2, bytes([StreamClass.CONTROL]) + encode_message(Ping(1)))
            assert await peer.refusal() == ErrorCode.NOT_ALLOWED_YET
            assert victim.recorder.heard == []

    run(main())
