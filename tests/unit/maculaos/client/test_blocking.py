"""The blocking twin: the same words in threads, on a real control socket."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from lone_node import IDENTITY, lone_node
from maculaos.client import CallFailed, NodeUnreachable, Value, caller, remaining
from maculaos.client import mesh as asynchronous
from maculaos.client.blocking import Mesh, connect
from maculaos.settings import LimitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def node_in_a_thread(limits: LimitSettings | None = None) -> Iterator[Path]:
    """The socket of a node that runs beside the test."""
    paths: list[Path] = []
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def live() -> None:
        async with lone_node(limits) as node:
            over = asyncio.Event()
            loops.append((asyncio.get_running_loop(), over))
            paths.append(node.path)
            ready.set()
            await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield paths[0]
    finally:
        loop, over = loops[0]
        loop.call_soon_threadsafe(over.set)
        thread.join(20)


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    with node_in_a_thread() as path, connect(path, name="script") as connected:
        yield connected


def test_events_come_in_order_and_the_loop_ends_when_it_is_closed(mesh: Mesh) -> None:
    assert (mesh.node_name, mesh.realm, mesh.state) == (IDENTITY.name, "home", "connected")
    with mesh.subscribe("room.*") as events:
        mesh.publish("room.a", 1)
        mesh.publish_now("room.b", {"x": [2]})
        mesh.drain()
        heard = [events.get(5), next(events)]
        assert [(each.topic, each.payload) for each in heard] == [
            ("room.a", 1),
            ("room.b", {"x": [2]}),
        ]
        with pytest.raises(CallFailed, match="DEADLINE_EXCEEDED"):
            events.get(0.01)
        threading.Timer(0.05, events.close).start()
        assert list(events) == []


def test_a_method_that_the_node_refuses_raises_and_the_connection_goes_on() -> None:
    limits = LimitSettings(subscriptions=2)
    with node_in_a_thread(limits) as path, connect(path, name="script") as mesh:
        states: list[str] = []
        mesh._mesh.on_state(states.append)
        first = mesh.register("one", lambda value: value)
        mesh.register("two", lambda value: value)
        with pytest.raises(CallFailed, match="INVALID_REQUEST: more than 2 registered methods"):
            mesh.register("three", lambda value: value)
        with pytest.raises(CallFailed, match="INVALID_REQUEST"):
            mesh.rpc("three")(lambda value: value)
        assert mesh.call("two", 2) == 2
        first.close()
        mesh.register("three", lambda value: value)
        assert (mesh.call("three", 3), states) == (3, [])


def test_handlers_may_block_and_use_the_mesh(mesh: Mesh) -> None:
    @mesh.rpc("double")
    def double(value: int) -> Value:
        return [value * 2, caller(), remaining() <= 5]

    @mesh.rpc("quadruple")
    def quadruple(value: int) -> Value:
        twice = mesh.call("double", value)
        assert isinstance(twice, list)
        return mesh.call("double", twice[0])

    @mesh.rpc("count")
    def count(value: int) -> Iterator[Value]:
        yield from range(value)

    assert mesh.call("quadruple", 3) == [12, mesh.node_id, True]
    assert list(mesh.stream("count", 100)) == list(range(100))
    first = mesh.stream("count", 100)
    assert next(first) == 0
    first.close()  # type: ignore[attr-defined]  # it is a generator
    mesh.cast("double", 1)
    with mesh.register("gone", lambda value: value):
        assert mesh.call("gone", 1) == 1
    with pytest.raises(CallFailed, match="NO_PROVIDER"):
        mesh.call("gone", 1)


def test_acknowledged_means_that_the_loop_came_back(mesh: Mesh) -> None:
    assert mesh.publish("t", 1, acknowledge=True) == 0
    with mesh.subscribe("t") as events:
        heard: list[Value] = []
        reader = threading.Thread(target=lambda: heard.extend(each.payload for each in events))
        reader.start()
        assert mesh.publish_many("t", [1, 2, 3], acknowledge=True) == 1
        assert heard == [1, 2, 3]
        events.close()
        reader.join(10)


def test_a_node_tells_about_itself(mesh: Mesh) -> None:
    assert mesh.ping() is not None
    assert [each["name"] for each in mesh.members()] == ["n1"]
    assert mesh.stats()["clients"] == 1
    assert mesh.trace("t") == []


def test_no_node_is_an_error_at_once_and_leaves_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(NodeUnreachable, match="macula start --config FILE"):
        connect(tmp_path / "none.sock")
    assert threading.active_count() == before


def test_the_twin_has_every_name_but_what_only_a_loop_can_do() -> None:
    # From ``take`` on they are what the line tells the client, and no words of programs.
    only_there = {"begin", "on_state", "take", "room", "up", "down"}
    facts = {"realm", "node_name", "node_id"}
    names = {name for name in vars(asynchronous.Mesh) if not name.startswith("_")}
    twin = {name for name in vars(Mesh) if not name.startswith("_")}
    assert (names | facts) - only_there == twin


def test_the_node_is_asked_by_the_same_names(mesh: Mesh) -> None:
    assert set(mesh.version()) == {"software", "wire_version"}
    assert mesh.topology()
    assert mesh.find(IDENTITY.name)["complete"]
    assert mesh.join("127.0.0.1:9") == {"address": "127.0.0.1:9"}


def test_a_mesh_may_be_closed_twice(mesh: Mesh) -> None:
    mesh.close()
    mesh.close()
