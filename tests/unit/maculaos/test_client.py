"""Programs and their node: what the public client promises, on a real control socket."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from lone_node import IDENTITY, lone_node
from maculaos.client import CallFailed, Mesh, NodeUnreachable, Value, caller, connect
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


def with_two(main: Callable[[Mesh, Mesh], Awaitable[None]]) -> None:
    """Run ``main`` with two programs on one node."""

    async def limited() -> None:
        async with (
            asyncio.timeout(20),
            lone_node() as node,
            connect(node.path, name="a") as one,
            connect(node.path, name="b") as two,
        ):
            await main(one, two)

    asyncio.run(limited())


def test_what_one_publishes_the_other_hears_unchanged() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        subscription = two.subscribe("t", "u")
        await two.ping()
        payloads: list[Value] = [b"\x00\xff", {"a": [1, 2.5, None, True, "ü"]}, ""]
        for payload in payloads:
            await one.publish("t", payload)
        for payload in payloads:
            event = await anext(subscription)
            assert (event.topic, event.publisher) == ("t", IDENTITY.node_id.hex())
            assert event.payload == payload

    with_two(main)


def test_a_full_subscription_forgets_the_oldest_and_counts() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        subscription = two.subscribe("t", queue_size=2)
        await two.ping()
        for number in range(5):
            await one.publish("t", number)
        await two.ping()
        assert [(await anext(subscription)).payload for _ in range(2)] == [3, 4]
        assert subscription.dropped == 3

    with_two(main)


def test_a_closed_subscription_ends_its_loop_and_hears_no_more() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        first, second = two.subscribe("t"), two.subscribe("t")
        await two.ping()
        first.close()
        await one.publish("t", 1)
        assert [event async for event in first] == []
        assert (await anext(second)).payload == 1
        second.close()
        await two.ping()
        stats = await one.stats()
        assert stats["subscriptions"] == 0

    with_two(main)


def test_a_call_is_answered_by_whoever_registered() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        async def double(value: Value) -> Value:
            await asyncio.sleep(0)
            return [value, value]

        async with two.register("double", double):
            await two.register("whoami", lambda _value: caller())
            assert await one.call("double", "x") == ["x", "x"]
            assert await one.call("whoami") == IDENTITY.node_id.hex()
        await two.ping()
        with pytest.raises(CallFailed) as caught:
            await one.call("double", "x")
        assert caught.value.code == "NO_PROVIDER"

    with_two(main)


def test_what_a_handler_raises_reaches_the_caller() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        def fail(_value: Value) -> Value:
            raise ValueError("the kettle is empty")

        await two.register("boil", fail)
        await two.register("odd", lambda _value: {1, 2})  # type: ignore[arg-type,return-value]
        with pytest.raises(CallFailed, match="HANDLER_FAILED: ValueError: the kettle is empty"):
            await one.call("boil")
        with pytest.raises(CallFailed, match="HANDLER_FAILED: cannot send a set"):
            await one.call("odd")

    with_two(main)


def test_a_handler_that_takes_too_long_is_given_up() -> None:
    async def main(one: Mesh, two: Mesh) -> None:
        given_up = asyncio.Event()

        async def hang(_value: Value) -> Value:
            try:
                return await asyncio.Event().wait()
            finally:
                given_up.set()

        await two.register("hang", hang)
        with pytest.raises(CallFailed) as caught:
            await one.call("hang", timeout_s=0.05)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        await given_up.wait()

    with_two(main)


def test_the_end_of_the_node_reaches_everyone_who_waits() -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(20),
            lone_node() as node,
            connect(node.path, reconnect=False) as mesh,
        ):
            await mesh.register("hang", lambda _value: asyncio.Event().wait())
            subscription = mesh.subscribe("t")
            waiting = asyncio.create_task(mesh.call("hang"))
            await mesh.ping()
            await node.control.close()
            with pytest.raises(NodeUnreachable, match="is gone: the node stops"):
                await waiting
            with pytest.raises(NodeUnreachable):
                await anext(subscription)
            with pytest.raises(NodeUnreachable):
                await mesh.publish("t", 1)
            assert isinstance(await mesh.wait_lost(), NodeUnreachable)

    asyncio.run(main())


def test_a_socket_without_a_node_is_told_with_the_next_move(tmp_path: Path) -> None:
    async def main() -> None:
        await connect(tmp_path / "none.sock")

    with pytest.raises(NodeUnreachable, match="macula start --config FILE"):
        asyncio.run(main())


def test_a_patient_program_finds_a_node_that_comes_up_later() -> None:
    async def main() -> None:
        async with asyncio.timeout(20), lone_node() as node:
            await node.control.close()
            connecting = asyncio.ensure_future(_name_of(node.path))
            done, _ = await asyncio.wait([connecting], timeout=0.01)
            assert not done
            await node.open()
            assert await connecting == IDENTITY.name

    async def _name_of(path: Path) -> str:
        async with connect(path, patience_s=15) as mesh:
            return mesh.node_name

    asyncio.run(main())


def test_no_socket_at_all_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="MACULA_SOCKET"):
        connect()


def test_what_cannot_be_sent_or_named_is_refused_before_it_is_sent() -> None:
    async def main(one: Mesh, _two: Mesh) -> None:
        with pytest.raises(UsageError, match="cannot send"):
            await one.publish("t", {"a": object()})  # type: ignore[dict-item]
        with pytest.raises(UsageError, match="no topic"):
            one.subscribe("a b")
        with pytest.raises(UsageError, match="belongs to the node"):
            one.register("macula.ping", lambda value: value)
        await one.ping()

    with_two(main)


def test_a_node_tells_about_itself() -> None:
    async def main(one: Mesh, _two: Mesh) -> None:
        assert (one.node_name, one.realm) == ("n1", "home")
        assert [member["name"] for member in await one.members()] == ["n1"]
        assert (await one.stats())["clients"] == 2
        assert (await one.version())["software"] == "test"
        assert (await one.topology())["self"]["name"] == "n1"
        await one.join("127.0.0.1:4799")
        with pytest.raises(CallFailed, match="INVALID_REQUEST"):
            await one.join("nowhere")

    with_two(main)


def test_what_nobody_offers_is_found_nowhere() -> None:
    async def main(one: Mesh, _two: Mesh) -> None:
        nothing = {"nodes": [], "hops": 0, "asked": 0, "complete": True}
        assert await one.find(topic="t") == nothing
        assert await one.find(method="add") == nothing
        assert await one.find("n1") == nothing

    with_two(main)


def test_a_search_names_exactly_one_thing_that_can_be() -> None:
    async def main(one: Mesh, _two: Mesh) -> None:
        with pytest.raises(UsageError, match="exactly one"):
            await one.find()
        with pytest.raises(UsageError, match="exactly one"):
            await one.find("n1", topic="t")
        with pytest.raises(CallFailed, match="INVALID_REQUEST: no member is called n9"):
            await one.find("n9")
        with pytest.raises(CallFailed, match="INVALID_REQUEST: a node id of 2 bytes"):
            await one.find("abcd")

    with_two(main)


def test_the_client_loads_nothing_heavy() -> None:
    heavy = "{'aioquic', 'cryptography', 'typer', 'rich', 'pydantic'}"
    program = f"import sys, maculaos.client; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
