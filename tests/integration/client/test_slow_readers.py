"""Readers that are slow: what is acknowledged waits for them, what is not gives way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from lone_node import lone_node
from maculaos.client import CallFailed, Mesh, connect
from maculaos.settings import LimitSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


SMALL = LimitSettings(client_queue_bytes=262_144)


def play(
    main: Callable[[Mesh, Mesh], Awaitable[None]], limits: LimitSettings | None = None
) -> None:
    """Run ``main`` with two programs on one node."""

    async def limited() -> None:
        async with (
            asyncio.timeout(60),
            lone_node(limits) as node,
            connect(node.path, name="a") as one,
            connect(node.path, name="b") as two,
        ):
            await main(one, two)

    asyncio.run(limited())


def test_publishers_of_acknowledged_events_go_as_slowly_as_their_reader() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        events = await two.subscribe("t", queue_size=4, policy="block").ready()
        heard: list[object] = []

        async def read() -> None:
            async for event in events:
                heard.append(event.payload)
                await asyncio.sleep(0.001)

        async def publish(number: int) -> None:
            confirmed = await one.publish("t", number, acknowledge=True, timeout_s=50)
            assert confirmed == 1
            assert number in heard

        reading = asyncio.create_task(read())
        for start in range(0, 200, 50):
            await asyncio.gather(*(publish(number) for number in range(start, start + 50)))
        assert heard == list(range(200))
        events.close()
        await reading

    play(main)


def test_large_acknowledged_events_wait_for_the_socket_of_their_reader() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        heard: list[int] = []
        states: list[str] = []
        two.on_state(states.append)
        await two.subscribe("t", callback=lambda event: heard.append(event.sequence)).ready()
        payload = b"x" * 60_000
        confirmed = await asyncio.gather(
            *(one.publish("t", payload, acknowledge=True, timeout_s=50) for _ in range(200))
        )
        assert confirmed == [1] * 200
        assert heard == sorted(heard)
        assert len(heard) == 200
        # The credit of the reader is good for much more than may wait for it.
        assert states == []

    play(main, SMALL)


def test_a_reader_that_does_not_read_costs_no_more_than_its_queue() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        events = await two.subscribe("t", queue_size=100).ready()
        for number in range(5000):
            one.publish_now("t", number)
            if number % 100 == 0:
                await one.drain()
        await one.ping()
        await two.ping()
        heard = [(await anext(events)).payload for _ in range(100)]
        assert heard == list(range(4900, 5000))

    play(main)


def test_a_subscription_that_disconnects_leaves_the_others_alone() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        events = await two.subscribe("t", queue_size=10, policy="disconnect").ready()
        other: list[object] = []
        await two.subscribe("t", callback=lambda event: other.append(event.payload)).ready()
        for number in range(1000):
            one.publish_now("t", number)
        await one.drain()
        await one.ping()
        await two.ping()
        assert other == list(range(1000))
        with pytest.raises(CallFailed, match="OVERLOADED"):
            assert [event async for event in events] == []

    play(main)
