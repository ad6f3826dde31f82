"""NATS over TLS, by nats-py: the broker is ``nats-server``."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import nats  # type: ignore[import-not-found]

from peers.roles import CLOCK, Calling, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client  # type: ignore[import-not-found]
    from nats.aio.msg import Msg  # type: ignore[import-not-found]

METHOD = "bench.echo"


class NatsPeer(Calling):
    """One connection to the broker."""

    _client: Client

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        context = ssl.create_default_context(cafile=str(self.task.folder / "ca.pem"))
        url = f"tls://127.0.0.1:{self.task.dial[0]}"
        self._client = await nats.connect(url, tls=context, allow_reconnect=False)
        try:
            yield
        finally:
            await self._client.close()

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""

        async def heard(message: Msg) -> None:
            take(message.data)

        # No limit of its own: what waits in the client is not thrown away.
        await self._client.subscribe(
            "bench.topic.*", cb=heard, pending_msgs_limit=0, pending_bytes_limit=0
        )
        await self._client.flush()

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        publish, count, number = self._client.publish, 0, 0
        topics = [self.task.topic(number) for number in range(self.task.topics)]
        while True:
            topic = topics[number % len(topics)]
            for payload in payloads:
                await publish(topic, payload)
                count += 1
            number += 1
            await asyncio.sleep(0)
            if CLOCK() >= until_s:
                await self._client.flush()
                return count

    async def serve(self) -> None:
        """See ``Peer``."""

        async def answer(message: Msg) -> None:
            await message.respond(message.data)

        await self._client.subscribe(METHOD, cb=answer)
        await self._client.flush()

    async def call(self, payload: bytes) -> bytes:
        """See ``Peer``."""
        answer = await self._client.request(METHOD, payload, timeout=5)
        return bytes(answer.data)


if __name__ == "__main__":
    main(NatsPeer)
