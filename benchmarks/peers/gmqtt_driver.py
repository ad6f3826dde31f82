"""MQTT 5 over TCP, by gmqtt: the broker is ``mosquitto``."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from gmqtt import Client  # type: ignore[import-not-found]
from gmqtt.storage import PersistentStorage  # type: ignore[import-not-found]

from peers.roles import CLOCK, Acknowledging, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# gmqtt itself never waits: bytes that may lie in its socket's buffer.
BUFFER_BYTES = 1 << 20


class _Unconfirmed(PersistentStorage):  # type: ignore[misc]  # gmqtt has no types
    """What the broker has not confirmed, so that somebody can wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def remove_message_by_mid(self, mid: int) -> None:
        """See gmqtt."""
        super().remove_message_by_mid(mid)
        self._changed.set()

    async def below(self, count: int) -> None:
        """Wait until fewer are unconfirmed."""
        while len(self._messages) >= count:
            self._changed.clear()
            await self._changed.wait()


class GmqttPeer(Acknowledging):
    """One connection to the broker."""

    _client: Client

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        self._unconfirmed = _Unconfirmed()
        self._client = Client(self.task.name, persistent_storage=self._unconfirmed)
        await self._client.connect("127.0.0.1", self.task.dial[0])
        try:
            yield
        finally:
            await self._client.disconnect()

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""

        def heard(_client: Client, _topic: str, payload: bytes, *_: Any) -> int:
            take(payload)
            return 0

        self._client.on_message = heard
        self._client.subscribe("bench/topic/+", qos=1)

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        publish, transport = self._client.publish, self._client._connection._transport
        topics, count, number = self._topics(), 0, 0
        while True:
            topic = topics[number % len(topics)]
            for payload in payloads:
                publish(topic, payload)
                count += 1
            number += 1
            await asyncio.sleep(0)
            # Polled: gmqtt tells nobody of its transport.
            while transport.get_write_buffer_size() > BUFFER_BYTES:  # noqa: ASYNC110
                await asyncio.sleep(0.0005)
            if CLOCK() >= until_s:
                return count

    async def publish_acknowledged(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``: confirmed by the broker, which is less than by all subscribers."""
        publish, below = self._client.publish, self._unconfirmed.below
        topics, count = self._topics(), 0
        while CLOCK() < until_s:
            topic = topics[count % len(topics)]
            for payload in payloads:
                publish(topic, payload, qos=1)
                count += 1
            await below(max(1, self.task.in_flight - len(payloads) + 1))
        await below(1)
        return count

    def _topics(self) -> list[str]:
        wanted = range(self.task.topics)
        return [self.task.topic(number).replace(".", "/") for number in wanted]


if __name__ == "__main__":
    main(GmqttPeer)
