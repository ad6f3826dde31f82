"""MQTT 5 over TCP, by paho-mqtt, whose network loop is a thread: the broker is ``mosquitto``."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from paho.mqtt.client import Client, MQTTMessage  # type: ignore[import-untyped]
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion  # type: ignore[import-untyped]

from peers.roles import CLOCK, Acknowledging, Payloads, Take, main

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# paho queues without a bound: so many may wait to be written at most once.
WAITING = 1000


class PahoPeer(Acknowledging):
    """One connection to the broker, and its thread."""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """See ``Peer``."""
        self._changed = threading.Condition()
        self._unsent = 0
        client = self._client = Client(
            CallbackAPIVersion.VERSION2, self.task.name, protocol=MQTTProtocolVersion.MQTTv5
        )
        client.max_inflight_messages_set(max(20, self.task.in_flight))
        client.max_queued_messages_set(0)
        client.on_publish = self._sent
        client.connect("127.0.0.1", self.task.dial[0])
        client.loop_start()
        try:
            # Polled: its events come from another thread.
            while not client.is_connected():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            yield
        finally:
            client.disconnect()
            client.loop_stop()

    async def subscribe(self, take: Take) -> None:
        """See ``Peer``."""

        def heard(_client: Client, _userdata: Any, message: MQTTMessage) -> None:
            take(message.payload)

        self._client.on_message = heard
        self._client.subscribe("bench/topic/+", qos=1)

    async def publish(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``."""
        if until_s == 0.0:
            self._unsent += 1
            self._client.publish(self._topics()[0], payloads[0])
            return 1
        return await asyncio.to_thread(self._publish, payloads, until_s, 0, WAITING)

    async def publish_acknowledged(self, payloads: Payloads, until_s: float) -> int:
        """See ``Peer``: confirmed by the broker, which is less than by all subscribers."""
        return await asyncio.to_thread(self._publish, payloads, until_s, 1, self.task.in_flight)

    def _publish(self, payloads: Payloads, until_s: float, qos: int, waiting: int) -> int:
        publish, topics, count = self._client.publish, self._topics(), 0
        while CLOCK() < until_s:
            topic = topics[count // len(payloads) % len(topics)]
            with self._changed:
                self._unsent += len(payloads)
            for payload in payloads:
                publish(topic, payload, qos=qos)
            count += len(payloads)
            self._until_below(max(1, waiting - len(payloads) + 1))
        self._until_below(1)
        return count

    def _until_below(self, count: int) -> None:
        with self._changed:
            while self._unsent >= count:
                self._changed.wait()

    def _sent(self, *_: Any) -> None:
        with self._changed:
            self._unsent -= 1
            self._changed.notify()

    def _topics(self) -> list[str]:
        wanted = range(self.task.topics)
        return [self.task.topic(number).replace(".", "/") for number in wanted]


if __name__ == "__main__":
    main(PahoPeer)
