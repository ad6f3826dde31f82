"""Ourselves: with a node in this process, or through the daemon whose socket lies in the folder.

A node of its own is configured by ``node.yaml`` in the folder; without one, ``node.sock`` is it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from maculaos.client import Event, Mesh, Value, connect
from peers.roles import CLOCK, Acknowledging, Calling, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METHOD = "bench.echo"
PATIENCE_S = 20.0
# As many as may wait: what is published is not thrown away.
QUEUE = 1_000_000


class MaculaPeer(Acknowledging, Calling):
    """One program of the mesh."""

    _mesh: Mesh

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        configuration = self.task.folder / "node.yaml"
        if configuration.exists():
            opening = connect(embedded=configuration)
        else:
            opening = connect(self.task.folder / "node.sock", patience_s=PATIENCE_S)
        async with opening as mesh:
            self._mesh = mesh
            yield

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""

        def heard(event: Event) -> None:
            take(event.payload)  # type: ignore[arg-type]  # this bench publishes bytes

        subscription = self._mesh.subscribe("bench.topic.*", callback=heard, queue_size=QUEUE)
        await subscription.ready()

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        publish, drain = self._mesh.publish_now, self._mesh.drain
        topics, count, number = self._topics(), 0, 0
        while True:
            topic = topics[number % len(topics)]
            for payload in payloads:
                publish(topic, payload)
                count += 1
            number += 1
            await drain()
            if CLOCK() >= until_s:
                return count

    async def publish_acknowledged(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``: confirmed by every subscriber's program."""
        publish, topics, count = self._mesh.publish_many, self._topics(), 0
        values: list[Value] = [*payloads]

        async def on_and_on() -> None:
            nonlocal count
            while CLOCK() < until_s:
                topic = topics[count // len(values) % len(topics)]
                await publish(topic, values, acknowledge=True)
                count += len(values)

        together = max(1, self.task.in_flight // len(values))
        await asyncio.gather(*(on_and_on() for _ in range(together)))
        return count

    async def serve(self) -> None:
        """See ``Peer``."""
        await self._mesh.register(METHOD, lambda value: value)

    async def call(self, payload: bytes) -> bytes:
        """See ``Peer``."""
        answer = await self._mesh.call(METHOD, payload)
        return answer if isinstance(answer, bytes) else b""

    def _topics(self) -> list[str]:
        return [self.task.topic(number) for number in range(self.task.topics)]


if __name__ == "__main__":
    main(MaculaPeer)
