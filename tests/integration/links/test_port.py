"""One UDP port: who may have it, and what else comes in there."""

from __future__ import annotations

import errno
import random
import select
import socket
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from loopback import AT_ONCE, CONTROL, open_node, run
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.quic.endpoint import DialFailed, Endpoint
from maculaos.quic.mutual_tls import ALPN
from maculaos.quic.routes import read_header
from maculaos.settings import ListenSettings
from maculaos.wire.messages import Ping
from mesh_peers import Recorder, eventually

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_port_in_use_is_one_clear_line(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            taken = one.endpoint.address.port
            settings = realm.node_settings("n2", listen=ListenSettings(port=taken))
            with pytest.raises(UsageError) as refused:
                await Endpoint.open(settings, realm.credentials("n2"), Recorder(), SystemClock())
            assert refused.value.what == f"port {taken} on 127.0.0.1 is in use"
            assert refused.value.hint == "stop the other program or choose another port"

    run(main())


@pytest.mark.parametrize("address", ["192.0.2.1", "no-such-host.invalid"])
def test_address_that_is_not_ours_is_one_clear_line(realm: RealmFolder, address: str) -> None:
    async def main() -> None:
        settings = realm.node_settings("n1", listen=ListenSettings(address=address, port=4701))
        with pytest.raises(UsageError, match=address):
            await Endpoint.open(
                settings, realm.credentials("n1"), Recorder(), SystemClock(), port=0
            )

    run(main())


async def heard_by(client: socket.socket) -> list[bytes]:
    """What came in by the turn of the loop in which the first answer did."""
    await eventually(lambda: select.select([client], [], [], 0)[0])
    heard = []
    while select.select([client], [], [], 0)[0]:
        heard.append(client.recv(65_535))
    return heard


def test_first_datagram_that_comes_twice_opens_one_connection(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            target = ("127.0.0.1", one.endpoint.address.port)
            offer = QuicConfiguration(is_client=True, alpn_protocols=[ALPN])
            quic = QuicConnection(configuration=offer)
            quic.connect(target, now=0.0)
            ((first, _),) = quic.datagrams_to_send(now=0.0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                # Connected: nobody else's datagrams are heard, should the port be a used one.
                client.connect(target)
                # All wait in the node's socket before its loop turns.
                for _ in range(3):
                    client.send(first)
                answers = await heard_by(client)
            # Every connection answers under an id of its own.
            assert len({header.source for header in map(read_header, answers) if header}) == 1
            assert one.endpoint.refused == Counter()

    run(main())


def test_noise_on_the_port_does_no_harm(realm: RealmFolder) -> None:
    async def main() -> None:
        noise = random.Random(7)  # a seed replays the noise
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            target = ("127.0.0.1", two.endpoint.address.port)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                for _ in range(300):
                    first = noise.choice([b"", b"\xc0\0\0\0\1\x08", b"\xc0", b"\x40"])
                    rest = noise.randbytes(noise.choice([0, 1, 20, 1300]))
                    sender.sendto(first + rest, target)
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: two.recorder.heard == [Ping(1)])

    run(main())


def test_datagram_that_cannot_be_sent_is_counted_not_raised(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1", link=AT_ONCE) as one:
            with pytest.raises(DialFailed, match="no answer in time"):
                # A socket bound to the loopback address has no way to the world.
                await one.endpoint.dial("192.0.2.1:4701")
            assert set(one.endpoint.send_errors) <= set(errno.errorcode.values())
            assert one.endpoint.send_errors

    run(main())
