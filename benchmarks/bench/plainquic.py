"""The same on plain aioquic: its own asyncio adapter, its defaults, a certificate on one side."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from bench.took import Took, timed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from credentials import RealmFolder

ALPN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is carried: pieces of so many bytes, and how many may be under way."""

    pieces: int
    piece: int
    in_flight: int


class _Counting(QuicConnectionProtocol):
    """A server that counts the bytes of all streams."""

    heard = 0
    changed: asyncio.Event

    def quic_event_received(self, event: events.QuicEvent) -> None:
        """See ``QuicConnectionProtocol``."""
        if isinstance(event, events.StreamDataReceived):
            _Counting.heard += len(event.data)
            _Counting.changed.set()


def pour(realm: RealmFolder, load: Load) -> Took:
    """As many bytes as a link is given, on one stream."""

    async def work(dial: Callable[[], Any]) -> Took:
        async with dial() as client:
            piece = os.urandom(load.piece)

            async def pour_all() -> None:
                stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
                for number in range(load.pieces):
                    client._quic.send_stream_data(stream, piece)
                    client.transmit()
                    await _until((number + 1 - load.in_flight) * load.piece)
                await _until(load.pieces * load.piece)

            return await timed(pour_all)

    return asyncio.run(_with_server(realm, work))


def dial_often(realm: RealmFolder, count: int) -> Took:
    """As many connections, one after the other."""

    async def work(dial: Callable[[], Any]) -> Took:
        clock_s = cpu_s = 0.0
        for _ in range(count):
            clock, cpu = time.perf_counter(), time.process_time()
            async with dial() as client:
                await client.wait_connected()
                clock_s += time.perf_counter() - clock
                cpu_s += time.process_time() - cpu
        return Took(clock_s, cpu_s)

    return asyncio.run(_with_server(realm, work))


async def _with_server(
    realm: RealmFolder, work: Callable[[Callable[[], Any]], Awaitable[Took]]
) -> Took:
    _Counting.heard, _Counting.changed = 0, asyncio.Event()
    credentials = realm.credentials("n1")
    settings = QuicConfiguration(
        alpn_protocols=[ALPN],
        is_client=False,
        certificate=credentials.certificate,
        private_key=credentials.key,
    )
    server = await serve("127.0.0.1", 0, configuration=settings, create_protocol=_Counting)
    bound = server._transport
    if bound is None:
        raise RuntimeError("the server has no socket")
    port = bound.get_extra_info("sockname")[1]
    ours = QuicConfiguration(alpn_protocols=[ALPN], verify_mode=ssl.CERT_NONE)
    try:
        return await work(lambda: connect("127.0.0.1", port, configuration=ours))
    finally:
        server.close()


async def _until(least: int) -> None:
    while _Counting.heard < least:
        _Counting.changed.clear()
        await _Counting.changed.wait()
