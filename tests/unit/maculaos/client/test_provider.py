"""Handlers: what they answer, how many run, and how they end."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.client import CallFailed, NodeUnreachable, Value, caller, remaining
from maculaos.errors import UsageError
from maculaos.wire.messages import (
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
)
from maculaos.wire.registry import Answering, RpcErrorCode
from maculaos.wire.values import decode_value, encode_value
from stagenode import NOTHING, PUBLISHER, StageNode, on_stage, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from maculaos.client import Mesh


def ask(
    method: str = "m", value: Value = None, number: int = 9, deadline_ms: int = 5000, **more: Any
) -> RpcCall:
    """A call as a node hands it to a program."""
    return RpcCall(number, method, deadline_ms, PUBLISHER, encode_value(value), **more)


def results(node: StageNode) -> list[tuple[Value, bool]]:
    """Values and whether more follow."""
    return [(decode_value(each.payload), each.more) for each in node.heard(RpcResult)]


def test_a_handler_may_be_a_function_or_wait_and_knows_who_calls_and_how_long() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        assert (caller(), remaining()) == ("", float("inf"))

        @mesh.rpc("now")
        def now(value: Value) -> Value:
            return [value, caller(), 4 < remaining() <= 5]

        @mesh.rpc("later", concurrency=3)
        async def later(value: Value) -> Value:
            await asyncio.sleep(0)
            return [value, caller(), 4 < remaining() <= 5]

        registered = node.heard(RpcRegister)
        assert [(each.methods, each.concurrency) for each in registered] == [
            (("now",), 64),
            (("later",), 3),
        ]
        for method in ("now", "later"):
            node.tell(ask(method, "x"))
            await turn(3)
            assert results(node) == [(["x", PUBLISHER.hex(), True], False)]

    on_stage(play)


def test_a_call_that_is_cancelled_before_its_handler_began_leaves_nothing_behind() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        begun: list[Value] = []

        @mesh.rpc("m", concurrency=1)
        async def wait(value: Value) -> Value:
            begun.append(value)
            return value

        node.tell(ask(number=1))
        node.tell(RpcCancel(1))
        await turn(3)
        # A coroutine that nobody awaited would warn now, and fail the test.
        gc.collect()
        assert begun == []
        node.tell(ask(value="x", number=2))
        await turn(3)
        assert (begun, results(node)) == (["x"], [("x", False)])

    on_stage(play)


def test_what_is_too_much_is_refused_at_once() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        gate = asyncio.Event()

        @mesh.rpc("m", concurrency=2)
        async def wait(_value: Value) -> Value:
            await gate.wait()
            return None

        for number in range(3):
            node.tell(ask(number=number))
        (error,) = node.heard(RpcError)
        assert (error.call, error.code) == (2, RpcErrorCode.OVERLOADED)
        gate.set()
        await turn(3)
        assert len(results(node)) == 2
        node.tell(ask(number=4))
        await turn(2)
        assert len(results(node)) == 1

    on_stage(play)


def test_a_call_that_is_cancelled_or_late_cancels_its_handler() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        ended: list[str] = []

        @mesh.rpc("m")
        async def hang(value: Value) -> Value:
            try:
                return await asyncio.Event().wait()
            finally:
                ended.append(str(value))

        node.tell(ask(value="cancelled", number=1))
        await turn()
        node.tell(RpcCancel(1))
        await turn(2)
        assert ended == ["cancelled"]
        assert node.heard(RpcError) == []
        node.tell(ask(value="late", number=2, deadline_ms=1))
        while not (errors := node.heard(RpcError)):
            await turn()
        assert [each.code for each in errors] == [RpcErrorCode.DEADLINE_EXCEEDED]
        node.tell(ask(value="lost", number=3))
        await turn()
        node.fall()
        await turn(2)
        assert ended == ["cancelled", "late", "lost"]

    on_stage(play)


def test_a_stream_goes_on_as_far_as_the_caller_takes_it() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        closed: list[bool] = []

        @mesh.rpc("m")
        async def count(value: Any) -> AsyncIterator[Value]:
            try:
                for number in range(value):
                    yield number
            finally:
                closed.append(True)

        node.tell(ask(value=5, answering=Answering.STREAM, credit=2))
        await turn(3)
        assert results(node) == [(0, True), (1, True)]
        node.tell(RpcCredit(9, 10))
        await turn(3)
        assert results(node) == [(2, True), (3, True), (4, True), (None, False)]
        node.tell(ask(value=5, answering=Answering.STREAM, credit=1))
        await turn(3)
        node.tell(RpcCancel(9))
        await turn(3)
        assert results(node) == [(0, True)]
        assert closed == [True, True]

    on_stage(play)


def test_one_value_is_a_stream_of_one_and_a_stream_is_no_value() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        mesh.rpc("one")(lambda value: value)

        @mesh.rpc("many")
        async def many(_value: Value) -> AsyncIterator[Value]:
            yield 1

        node.tell(ask("one", "x", answering=Answering.STREAM, credit=1))
        await turn(3)
        assert results(node) == [("x", True), (None, False)]
        node.tell(ask("many"))
        await turn(3)
        (error,) = node.heard(RpcError)
        assert (error.code, error.detail) == (
            RpcErrorCode.HANDLER_FAILED,
            "the method answers with a stream; call it by mesh.stream()",
        )

    on_stage(play)


def test_a_cast_is_answered_with_nothing_whatever_comes_of_it() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        heard: list[Value] = []

        @mesh.rpc("m")
        async def hear(value: Value) -> Value:
            heard.append(value)
            raise ValueError("who cares")

        node.tell(ask(value=1, answering=Answering.NONE))
        node.tell(ask("unknown", answering=Answering.NONE))
        await turn(3)
        assert heard == [1]
        assert not node.heard(RpcError)
        assert not node.heard(RpcResult)

    on_stage(play)


def test_registrations_come_back_with_the_node() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        registration = await mesh.register("gone", lambda value: value)
        await mesh.register("m", lambda value: value, concurrency=5)
        registration.close()
        assert [each.methods for each in node.heard(RpcUnregister)] == [("gone",)]
        node.heard(RpcRegister)
        node.fall()
        await node.connected.wait()
        await turn()
        (again,) = node.heard(RpcRegister)
        assert (again.methods, again.concurrency) == (("m",), 5)

    on_stage(play)


async def refusing(node: StageNode, mesh: Mesh, method: str) -> asyncio.Task[Any]:
    """A registration that the node has refused; what was said after it is not answered yet."""
    node.leaves_open = (RpcCall,)
    registering = asyncio.ensure_future(mesh.register(method, lambda value: value))
    await turn()
    (asked,) = node.heard(RpcRegister)
    node.tell(RpcError(asked.request, RpcErrorCode.INVALID_REQUEST, "no room"))
    node.leaves_open = ()
    return registering


def answer_pings(node: StageNode) -> None:
    """Say that everything up to now was read."""
    for each in node.heard(RpcCall):
        node.tell(RpcResult(each.call, NOTHING))


def unheard() -> list[dict[str, Any]]:
    """What the exception handler of the loop is told from now on."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    return said


def test_a_registration_that_the_node_refuses_raises_and_leaves_nothing_behind() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        said = unheard()
        registering = await refusing(node, mesh, "m")
        answer_pings(node)
        with pytest.raises(CallFailed, match="INVALID_REQUEST: no room"):
            await registering
        assert mesh.state == "connected"
        node.heard(RpcRegister)
        node.fall()
        await node.connected.wait()
        await turn()
        assert node.heard(RpcRegister) == []
        # It may be asked for anew, and a refusal of before says nothing of that.
        await mesh.register("m", lambda value: value)
        assert said == []

    on_stage(play)


def test_a_registration_whose_node_goes_meanwhile_raises_and_does_not_come_back() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        registering = await refusing(node, mesh, "m")
        node.fall()
        with pytest.raises(NodeUnreachable):
            await registering
        await node.connected.wait()
        await turn()
        assert node.heard(RpcRegister) == []

    on_stage(play)


def test_a_refusal_that_nobody_waits_for_is_told_and_asked_about_whenever_the_node_returns() -> (
    None
):
    async def play(node: StageNode, mesh: Mesh) -> None:
        said = unheard()
        mesh.rpc("one")(lambda value: value)
        await mesh.register("two", lambda value: value, concurrency=3)
        for refused in (("one",), ("two",), ("one", "two"), ()):
            for asked in node.heard(RpcRegister):
                if asked.methods[0] in refused:
                    node.tell(RpcError(asked.request, RpcErrorCode.INVALID_REQUEST, "no room"))
            assert [each["message"].split()[3].rstrip(";") for each in said] == list(refused)
            assert all(isinstance(each["exception"], CallFailed) for each in said)
            said.clear()
            assert mesh.state == "connected"
            node.fall()
            await node.connected.wait()
            await turn()
        asked_last = [(each.methods, each.concurrency) for each in node.heard(RpcRegister)]
        assert asked_last == [(("one",), 64), (("two",), 3)]

    on_stage(play)


def test_what_makes_no_sense_is_refused_at_once() -> None:
    async def play(_node: StageNode, mesh: Mesh) -> None:
        with pytest.raises(UsageError, match="belongs to the node"):
            mesh.rpc("macula.ping")
        with pytest.raises(UsageError, match="concurrency is 0"):
            mesh.register("m", lambda value: value, concurrency=0)

    on_stage(play)
