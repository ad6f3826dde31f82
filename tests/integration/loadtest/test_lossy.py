"""Proxies of nodes: all datagrams pass, or the wished share of them, in both directions."""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

import pytest

from maculaos.loadtest.lossy import Proxies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE_S = 20.0
MANY = 400


@asynccontextmanager
async def pair(
    seed: int = 1,
) -> AsyncIterator[tuple[Proxies, socket.socket, socket.socket]]:
    """Proxies of the nodes ``a`` and ``b``, and their sockets."""
    nodes = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    with closing(nodes[0]), closing(nodes[1]):
        for node in nodes:
            node.bind(("127.0.0.1", 0))
            node.setblocking(False)
        ports = {name: node.getsockname()[1] for name, node in zip("ab", nodes, strict=True)}
        proxies = Proxies(ports, random.Random(seed))
        try:
            yield proxies, nodes[0], nodes[1]
        finally:
            proxies.close()


async def sent(proxies: Proxies, source: socket.socket) -> int:
    """How many of many datagrams from ``a`` to the proxy of ``b`` were thrown away."""
    before, loop = proxies.lost, asyncio.get_running_loop()
    for number in range(MANY):
        await loop.sock_sendto(source, b"%d" % number, ("127.0.0.1", proxies.ports["b"]))
        await asyncio.sleep(0)
    return proxies.lost - before


async def received(node: socket.socket) -> tuple[bytes, tuple[str, int]]:
    return await asyncio.get_running_loop().sock_recvfrom(node, 100)


def test_datagrams_pass_both_ways_and_keep_their_sender() -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S), pair() as (proxies, a, b):
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(a, b"question", ("127.0.0.1", proxies.ports["b"]))
            said, flow = await received(b)
            await loop.sock_sendto(b, b"answer", flow)
            answer, sender = await received(a)
            assert (said, answer) == (b"question", b"answer")
            assert sender == ("127.0.0.1", proxies.ports["b"])

    asyncio.run(main())


@pytest.mark.parametrize("lossy", ["a", "b"])
def test_the_wished_share_is_lost_whichever_end_is_lossy(lossy: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(PATIENCE_S), pair() as (proxies, a, _):
            assert await sent(proxies, a) == 0
            proxies.lose(lossy, 0.5)
            assert MANY // 3 < await sent(proxies, a) < 2 * MANY // 3
            proxies.lose(lossy, 1.0)
            assert await sent(proxies, a) > MANY - 40
            proxies.lose(lossy, 0.0)
            assert await sent(proxies, a) < 40

    asyncio.run(main())
