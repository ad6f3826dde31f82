"""Dials that find nobody fail in time, and leave nothing behind."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import TYPE_CHECKING

import pytest

from loopback import AT_ONCE, open_node, run
from maculaos.quic.endpoint import DialFailed
from mesh_peers import eventually

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_dial_to_nobody_fails_in_time(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1", link=AT_ONCE) as one:
                start = asyncio.get_running_loop().time()
                with pytest.raises(DialFailed, match="no answer in time"):
                    await one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                assert asyncio.get_running_loop().time() - start < 5

    run(main())


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:0", "no-such-host.invalid:4701"])
def test_dial_to_what_is_no_address_fails(realm: RealmFolder, address: str) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            with pytest.raises(DialFailed, match=address.split(":")[0]):
                await one.endpoint.dial(address)

    run(main())


def test_dial_in_progress_ends_with_the_endpoint(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1") as one:
                dial = asyncio.create_task(
                    one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                )
                await eventually(lambda: select.select([silent], [], [], 0)[0])
            with pytest.raises(DialFailed):
                await dial

    run(main())


def test_cancelled_dial_leaves_no_link(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1") as one:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                assert one.endpoint.links == ()

    run(main())
