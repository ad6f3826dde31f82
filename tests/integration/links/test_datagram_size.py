"""Datagrams are never cut into fragments, and what is too large for the system is told."""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from loopback import run
from maculaos.quic.port import Port, SocketAddress


def ignore(datagram: bytes, sender: SocketAddress) -> None:
    """Nobody listens in these tests."""


@pytest.mark.skipif(sys.platform != "linux", reason="reads an option by its number on Linux")
@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_fragments_are_forbidden(host: str) -> None:
    if host == "::" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")

    async def main() -> None:
        port = await Port.open(host, 0, ignore)
        assert port._socket.getsockopt(socket.IPPROTO_IP, 10) == 3
        if host == "::":
            assert port._socket.getsockopt(socket.IPPROTO_IPV6, 23) == 3
        port.close()

    run(main())


def test_datagram_too_large_for_the_system_is_told() -> None:
    async def main() -> None:
        port = await Port.open("127.0.0.1", 0, ignore)
        assert port.send(bytes(65_000), port.bound)
        assert not port.send(bytes(65_536), port.bound)
        assert port.errors == {"EMSGSIZE": 1}
        port.close()

    run(main())


def test_datagram_that_is_lost_for_another_reason_is_not_too_large() -> None:
    async def main() -> None:
        port = await Port.open("127.0.0.1", 0, ignore)
        # A socket bound to the loopback address has no way to the world.
        assert port.send(b"x", ("192.0.2.1", 9))
        assert port.errors.total() == 1
        port.close()
        await asyncio.sleep(0)

    run(main())
