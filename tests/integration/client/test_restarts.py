"""A node that dies and comes back under its programs: nothing that was confirmed is missing."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from maculaos.client import CallFailed, NodeUnreachable, connect
from node_process import free_port, yard
from waits import answered, until

if TYPE_CHECKING:
    import subprocess

    from maculaos.client import Event, Mesh
    from node_process import Yard


async def published(mesh: Mesh, numbers: range) -> list[int]:
    """Publish these one after the other, each until somebody confirms it; return them."""
    confirmed: list[int] = []
    for number in numbers:
        while not confirmed or confirmed[-1] != number:
            with suppress(CallFailed):
                if await mesh.publish("record", number, acknowledge=True, timeout_s=5.0):
                    confirmed.append(number)
                    continue
            # Nobody is there who wants it, or its node died: try again.
            await asyncio.sleep(0.02)
    return confirmed


def _has_come(record: list[object], goal: int, writing: asyncio.Task[list[int]]) -> bool:
    return len(record) >= goal or writing.done()


async def restart(home: Yard, nodes: dict[str, subprocess.Popen[str]], name: str) -> None:
    """``kill -9`` a node, and start it again."""
    nodes[name].send_signal(signal.SIGKILL)
    await asyncio.to_thread(nodes[name].wait)
    nodes[name] = await asyncio.to_thread(home.start, name)


def test_no_confirmed_event_is_missing_however_often_the_writers_node_is_killed() -> None:
    async def main(home: Yard, nodes: dict[str, subprocess.Popen[str]]) -> None:
        record: list[object] = []
        async with (
            connect(home.socket("n2"), name="reader") as reader,
            connect(home.socket("n1"), name="writer") as writer,
        ):
            await reader.subscribe("record", callback=lambda e: record.append(e.payload)).ready()
            writing = asyncio.create_task(published(writer, range(1500)))
            for _ in range(3):
                goal = len(record) + 100
                await until(partial(_has_come, record, goal, writing))
                await restart(home, nodes, "n1")
            assert await writing == list(range(1500))
            assert set(record) == set(range(1500))

    with yard() as home:
        ports = free_port(), free_port()
        home.configure("n1", ports[0], (ports[1],))
        home.configure("n2", ports[1], (ports[0],))
        nodes = {name: home.start(name) for name in ("n1", "n2")}
        asyncio.run(asyncio.wait_for(main(home, nodes), 100))


def test_a_call_under_way_fails_and_what_was_registered_comes_back() -> None:
    async def main(home: Yard) -> None:
        async with (
            connect(home.socket("n1"), name="answerer") as answerer,
            connect(home.socket("n1"), name="asker") as asker,
        ):
            started = asyncio.Event()

            @answerer.rpc("slow")
            async def slow(_value: object) -> None:
                started.set()
                await asyncio.Event().wait()

            await answerer.register("quick", lambda value: value)
            calling = asyncio.ensure_future(asker.call("slow", timeout_s=30.0))
            await started.wait()
            await restart(home, {"n1": home.running[-1]}, "n1")
            with pytest.raises(NodeUnreachable, match="is gone"):
                await calling
            assert await answered(asker, "quick", 7) == 7

    with yard() as home:
        home.configure("n1", free_port())
        home.start("n1")
        asyncio.run(asyncio.wait_for(main(home), 60))


def test_a_node_that_comes_back_with_less_room_refuses_a_method_and_nothing_else() -> None:
    async def main(home: Yard) -> None:
        refused: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: refused.append(str(context["exception"]))
        )
        nodes = {"n1": home.running[-1]}
        async with (
            connect(home.socket("n1"), name="answerer") as answerer,
            connect(home.socket("n1"), name="asker") as asker,
        ):
            states: list[str] = []
            answerer.on_state(states.append)
            for method in ("one", "two"):
                await answerer.register(method, lambda value: value)
            home.configure("n1", port, more="limits: {subscriptions: 1}\n")
            await restart(home, nodes, "n1")
            assert await answered(asker, "one", 1) == 1
            await until(lambda: bool(refused))
            with pytest.raises(CallFailed, match="NO_PROVIDER"):
                await asker.call("two", 2)
            verb = await asyncio.to_thread(home.macula, "n1", "register", "three", "--echo")
            assert verb.returncode
            assert "more than 1 registered methods" in verb.stderr
            home.configure("n1", port)
            await restart(home, nodes, "n1")
            assert await answered(asker, "two", 2) == 2
            assert states == ["reconnecting", "connected"] * 2
            assert refused == ["INVALID_REQUEST: more than 1 registered methods"]

    with yard() as home:
        port = free_port()
        home.configure("n1", port)
        home.start("n1")
        asyncio.run(asyncio.wait_for(main(home), 60))


def test_a_program_that_does_not_want_to_wait_ends_with_its_node() -> None:
    async def main(home: Yard) -> None:
        async with connect(home.socket("n1"), reconnect=False) as mesh:
            subscription = mesh.subscribe("t")
            waiting: asyncio.Future[Event] = asyncio.ensure_future(anext(subscription))
            home.running[-1].send_signal(signal.SIGKILL)
            with pytest.raises(NodeUnreachable, match="look at its log"):
                await waiting
            assert mesh.state == "lost"

    with yard() as home:
        home.configure("n1", free_port())
        home.start("n1")
        asyncio.run(asyncio.wait_for(main(home), 60))
