"""Nodes inside of programs: the same client, real QUIC between them."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.client import CallFailed, NodeUnreachable, Value, caller, connect
from maculaos.configuration import read_settings
from maculaos.control import ControlSocket
from maculaos.errors import UsageError
from node_process import Yard, free_port, yard
from waits import answered, until_linked, until_wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from maculaos.client import Mesh


@asynccontextmanager
async def pair(home: Yard) -> AsyncIterator[tuple[Mesh, Mesh]]:
    """Two embedded nodes that are linked."""
    ports = free_port(), free_port()
    here, there = home.configure("a", ports[0]), home.configure("b", ports[1], (ports[0],))
    async with connect(embedded=here) as one, connect(embedded=str(there)) as two:
        await until_linked(one, 1)
        await until_linked(two, 1)
        yield one, two


def play(main: Callable[[Mesh, Mesh], Awaitable[None]]) -> None:
    """Run ``main`` with two programs, each with its node inside."""

    async def limited(home: Yard) -> None:
        async with asyncio.timeout(60), pair(home) as (one, two):
            await main(one, two)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with yard() as home:
        asyncio.run(limited(home))


def test_events_cross_in_order_and_none_is_missing() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        heard: list[Value] = []
        two.subscribe("room.*", callback=lambda event: heard.append(event.payload))
        await until_wanted(one, "room.t")
        for number in range(20_000):
            one.publish_now("room.t", number)
            if not number % 100:
                await one.drain()
        assert await one.publish("room.t", "end", acknowledge=True) == 1
        assert heard == [*range(20_000), "end"]

    play(main)


def test_more_than_a_link_may_hold_is_published_and_nothing_is_lost() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        heard: list[int] = []
        two.subscribe("large", callback=lambda event: heard.append(event.sequence))
        await until_wanted(one, "large")
        # The queue of a link is 32 MiB at most: the publisher is held back while it drains.
        for _ in range(3000):
            one.publish_now("large", bytes(16_384))
            await one.drain()
        await one.publish("large", "end", acknowledge=True, timeout_s=30)
        assert len(heard) == 3001
        assert heard == sorted(heard)

    play(main)


def test_a_stream_of_more_than_a_link_may_hold_has_every_part() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        async def parts(count: Value) -> AsyncIterator[Value]:
            assert isinstance(count, int)
            for number in range(count):
                yield number.to_bytes(4, "big") + bytes(1_000_000)

        await two.register("parts", parts)
        await two.register("known", lambda _: None)
        await answered(one, "known")
        heard = [part async for part in one.stream("parts", 60, timeout_s=30)]
        assert heard == [number.to_bytes(4, "big") + bytes(1_000_000) for number in range(60)]

    play(main)


def test_acknowledged_means_that_the_program_came_back() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        events = two.subscribe("t")
        await until_wanted(one, "t")
        publishing = asyncio.ensure_future(one.publish("t", {"a": [1]}, acknowledge=True))
        event = await anext(events)
        assert event.payload == {"a": [1]}
        done, _ = await asyncio.wait([publishing], timeout=0.2)
        assert not done
        coming_back = asyncio.ensure_future(anext(events))
        assert await publishing == 1
        coming_back.cancel()
        # Nobody comes back any more, and the publisher hears it in time.
        with pytest.raises(CallFailed):
            await one.publish("t", 2, acknowledge=True, timeout_s=0.5)

    play(main)


def test_calls_streams_and_cancellation_cross() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        cancelled = asyncio.Event()

        @two.rpc("who")
        def who(_value: Value) -> Value:
            return caller()

        @two.rpc("count")
        async def count(value: Value) -> AsyncIterator[Value]:
            assert isinstance(value, int)
            for number in range(value):
                yield number

        @two.rpc("hang")
        async def hang(_value: Value) -> Value:
            try:
                return await asyncio.Event().wait()
            finally:
                cancelled.set()

        assert await answered(one, "who") == one.node_id
        # Registrations keep their order: who answers a later one, answers this one.
        await two.register("last", lambda value: value)
        await answered(one, "last")
        assert [part async for part in one.stream("count", 300)] == list(range(300))
        hanging = asyncio.ensure_future(answered(one, "hang"))
        await asyncio.wait([hanging], timeout=0.5)
        hanging.cancel()
        await cancelled.wait()

    play(main)


def test_operators_reach_an_embedded_node_and_may_stop_it() -> None:
    async def main(home: Yard) -> None:
        config = home.configure("n1", free_port())
        before = signal.getsignal(signal.SIGTERM)
        async with asyncio.timeout(30), connect(embedded=config) as mesh:
            assert signal.getsignal(signal.SIGTERM) is before
            async with connect(home.socket("n1")) as operator:
                assert (await operator.stats())["clients"] == 2
                await operator.stop()
            assert "the node in this process is gone" in str(await mesh.wait_lost())
            with pytest.raises(NodeUnreachable):
                await mesh.publish("t", 1)

    with yard() as home:
        asyncio.run(main(home))


def test_settings_serve_as_well_as_a_file() -> None:
    async def main(home: Yard) -> None:
        settings = read_settings(home.configure("n1", free_port()))
        async with connect(embedded=settings) as mesh:
            assert mesh.node_name == "n1"
            with pytest.raises(CallFailed, match="was not started from a file"):
                await mesh.reload()

    with yard() as home:
        asyncio.run(main(home))


def test_what_keeps_a_node_from_starting_is_said_in_one_line() -> None:
    async def main(home: Yard) -> None:
        with pytest.raises(UsageError, match=r"none.yaml does not exist"):
            await connect(embedded=str(home.folder / "none.yaml"))
        config = home.configure("n1", free_port())
        async with connect(embedded=config):
            with pytest.raises(UsageError, match="already runs"):
                await connect(embedded=config)
        with pytest.raises(UsageError, match="two nodes are named"):
            connect("n1.sock", embedded=config)

    with yard() as home:
        asyncio.run(main(home))


def test_a_node_that_is_linked_before_its_control_socket_is_open_starts_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened = ControlSocket.open

    async def main(home: Yard) -> None:
        first, second = free_port(), free_port()
        early = home.configure("early", first, (second,))
        late = home.configure("late", second, (first,))
        async with asyncio.timeout(60), connect(embedded=early) as one:

            async def slowly(*words: Any) -> ControlSocket:
                await until_linked(one, 1)
                return await opened(*words)

            monkeypatch.setattr(ControlSocket, "open", slowly)
            async with connect(embedded=late) as two:
                await until_linked(two, 1)
                assert {member["name"] for member in await two.members()} == {"early", "late"}

    with yard() as home:
        asyncio.run(main(home))
