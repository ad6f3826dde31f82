"""Events and calls across a mesh: who wants nothing gets nothing; calls always end."""

from __future__ import annotations

import pytest

from maculaos.wire.events import Delivery, Post, Unwatch, Watch
from maculaos.wire.messages import (
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
)
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import encode_value
from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation


def mesh_with_clients(size: int, seed: int) -> tuple[World, tuple[str, ...]]:
    world = World(seed)
    names = start_mesh(world, size)
    for name in names:
        world.connect_client(name)
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)
    return world, names


def test_who_unsubscribed_hears_no_more() -> None:
    world, _ = mesh_with_clients(3, seed=1)
    world.say("n3", Watch(0, 1, "news", 1000))
    world.run_for(1.0)
    world.say("n3", Unwatch(1))
    world.run_for(1.0)
    world.say("n1", Post(1, "news", (encode_value(1),)))
    world.run_for(1.0)
    assert world.heard("n3", Delivery) == [], world.replay
    assert world.heard("n1", RpcResult) == [RpcResult(1, encode_value([0, 0]))], world.replay


def test_a_subscriber_that_restarts_is_reached_again() -> None:
    world, names = mesh_with_clients(3, seed=2)
    world.kill("n3")
    world.start("n3", peers=(world.hosts["n1"].address,))
    world.connect_client("n3")
    world.say("n3", Watch(0, 1, "news", 1000))
    world.run_until_true(lambda: world.is_whole(*names), 30.0)
    world.run_for(1.0)
    world.say("n1", Post(1, "news", (encode_value(1),)))
    world.run_for(1.0)
    assert len(world.heard("n3", Delivery)) == 1, world.replay


def answer_calls(world: World, name: str) -> None:
    """The provider's client answers every call with the payload it came with."""
    for call in world.heard(name, RpcCall):
        assert isinstance(call, RpcCall)
        world.say(name, RpcResult(call.call, call.payload))


def test_a_call_is_answered_from_another_node() -> None:
    world, _ = mesh_with_clients(3, seed=3)
    world.say("n2", RpcRegister(("echo",)))
    world.run_for(1.0)
    world.say("n1", RpcCall(9, "echo", 5000, b"", encode_value("hi")))
    world.run_for(1.0)
    answer_calls(world, "n2")
    world.run_for(1.0)
    assert world.heard("n1", RpcResult) == [RpcResult(9, encode_value("hi"))], world.replay


def test_a_call_that_nobody_answers_fails_at_once() -> None:
    world, _ = mesh_with_clients(3, seed=4)
    world.say("n1", RpcCall(9, "echo", 5000, b"", encode_value("hi")))
    (error,) = world.heard("n1", RpcError)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.NO_PROVIDER


def test_a_killed_provider_is_told_long_before_the_deadline() -> None:
    world, _ = mesh_with_clients(3, seed=5)
    world.say("n2", RpcRegister(("echo",)))
    world.run_for(1.0)
    world.say("n1", RpcCall(9, "echo", 60_000, b"", encode_value("hi")))
    world.kill("n2")
    took_s = world.run_until_true(lambda: bool(world.heard("n1", RpcError)), within_s=15.0)
    (error,) = world.heard("n1", RpcError)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.PROVIDER_LOST, (took_s, world.replay)


def test_a_provider_that_does_not_answer_costs_the_deadline() -> None:
    world, _ = mesh_with_clients(3, seed=6)
    world.say("n2", RpcRegister(("echo",)))
    world.run_for(1.0)
    world.say("n1", RpcCall(9, "echo", 500, b"", encode_value("hi")))
    world.run_for(0.6)
    (error,) = world.heard("n1", RpcError)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.DEADLINE_EXCEEDED, world.replay


def far_mesh(seed: int) -> tuple[World, tuple[str, ...]]:
    """More nodes than are linked with each other, each with a client."""
    world = World(seed)
    names = start_mesh(world, 20)
    for name in names:
        world.connect_client(name)
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)
    world.run_for(30.0)
    assert any(len(world.hosts[name].links) < len(names) - 1 for name in names)
    return world, names


@pytest.mark.parametrize("seed", range(3))
def test_call_finds_its_provider_anywhere_in_the_mesh(seed: int) -> None:
    world, names = far_mesh(seed)
    host = world.hosts["n1"]
    linked = {other.name for other in host.neighbours}
    far = next(name for name in names if name not in linked and name != "n1")
    world.say(far, RpcRegister(("far.add",)))
    world.run_for(5.0)
    world.say("n1", RpcCall(7, "far.add", 5000, b"", encode_value(1)))
    world.run_for(3.0)
    (call,) = world.heard(far, RpcCall)
    assert isinstance(call, RpcCall)
    assert call.caller == host.identity.node_id, world.replay
    world.say(far, RpcResult(call.call, encode_value(2)))
    world.run_for(1.0)
    assert world.heard("n1", RpcResult)[-1] == RpcResult(7, encode_value(2)), world.replay


def test_call_that_nobody_in_the_mesh_answers_is_told_so() -> None:
    world, _ = far_mesh(seed=1)
    world.say("n1", RpcCall(7, "nobody.home", 20_000, b"", encode_value(1)))
    world.run_for(15.0)
    (answer,) = world.heard("n1", RpcError)
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.NO_PROVIDER, world.replay
