"""Zenoh peer to peer over QUIC, by eclipse-zenoh: its core is written in Rust, and has threads."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import zenoh  # type: ignore[import-not-found]

from peers.roles import CLOCK, Calling, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "bench/echo"


class ZenohPeer(Calling):
    """One session."""

    _session: zenoh.Session

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        self._session = await asyncio.to_thread(zenoh.open, self._config())
        self._held: list[object] = []
        try:
            yield
        finally:
            await asyncio.to_thread(self._session.close)

    def _config(self) -> zenoh.Config:
        config, folder = zenoh.Config(), self.task.folder
        tls = {
            "root_ca_certificate": str(folder / "ca.pem"),
            "listen_certificate": str(folder / "server.pem"),
            "listen_private_key": str(folder / "server.key"),
        }
        listen = [f"quic/127.0.0.1:{self.task.listen}"] if self.task.listen else []
        settings = {
            "mode": "peer",
            "scouting/multicast/enabled": False,
            "listen/endpoints": listen,
            "connect/endpoints": [f"quic/127.0.0.1:{port}" for port in self.task.dial],
            "transport/link/tls": tls,
        }
        for key, value in settings.items():
            config.insert_json5(key, json.dumps(value))
        return config

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""

        def heard(sample: zenoh.Sample) -> None:
            take(sample.payload.to_bytes())

        self._held.append(self._session.declare_subscriber("bench/topic/*", heard))

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        if not self._held:
            wanted = [self.task.topic(number) for number in range(self.task.topics)]
            # Waits where there is no room, instead of throwing away.
            block = zenoh.CongestionControl.BLOCK
            self._held += [
                self._session.declare_publisher(topic.replace(".", "/"), congestion_control=block)
                for topic in wanted
            ]
        if until_s == 0.0:
            self._held[0].put(payloads[0])  # type: ignore[attr-defined]
            return 1
        return await asyncio.to_thread(self._publish, payloads, until_s)

    def _publish(self, payloads: Payloads, until_s: float) -> int:
        puts, count, number = [held.put for held in self._held], 0, 0  # type: ignore[attr-defined]
        while CLOCK() < until_s:
            put = puts[number % len(puts)]
            for payload in payloads:
                put(payload)
            count += len(payloads)
            number += 1
        return count

    async def serve(self) -> None:
        """See ``Peer``."""

        def answer(query: zenoh.Query) -> None:
            carried = query.payload
            with query:
                query.reply(METHOD, b"" if carried is None else carried)

        self._held.append(self._session.declare_queryable(METHOD, answer))

    async def call(self, payload: bytes) -> bytes:
        """See ``Peer``."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        def heard(reply: zenoh.Reply) -> None:
            found = b"" if reply.ok is None else reply.ok.payload.to_bytes()
            loop.call_soon_threadsafe(_settle, answered, found)

        def over() -> None:
            loop.call_soon_threadsafe(_settle, answered, b"")

        self._session.get(
            METHOD,
            zenoh.handlers.Callback(heard, over),
            payload=payload,
            timeout=5,
            # Each reply at once, and not only the last one of all.
            consolidation=zenoh.ConsolidationMode.NONE,
        )
        found = await answered
        if not found:
            raise OSError("nobody answers")
        return found


def _settle(answered: asyncio.Future[bytes], found: bytes) -> None:
    if not answered.done():
        answered.set_result(found)


if __name__ == "__main__":
    main(ZenohPeer)
