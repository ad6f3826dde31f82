"""Calls, casts and streams as a program makes them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from maculaos.client import CallFailed, NodeUnreachable
from maculaos.client.calls import _FIRST_WINDOW, _WINDOW, _WINDOW_BYTES
from maculaos.errors import UsageError
from maculaos.wire.messages import RpcCall, RpcCancel, RpcCredit, RpcError, RpcResult
from maculaos.wire.registry import Answering, Choice, RpcErrorCode
from maculaos.wire.values import encode_value
from stagenode import NOTHING, StageNode, on_stage, turn

if TYPE_CHECKING:
    from maculaos.client import Mesh, Value


def test_a_call_says_how_to_choose_and_how_long_it_waits() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        calling = asyncio.ensure_future(mesh.call("add", [1, 2], 2.5, choice="least-pending"))
        await turn()
        (call,) = node.heard(RpcCall)
        assert (call.method, call.deadline_ms) == ("add", 2500)
        assert (call.choice, call.answering) == (Choice.LEAST_PENDING, Answering.ONE)
        node.tell(RpcResult(call.call, encode_value(3)))
        assert await calling == 3
        with pytest.raises(UsageError, match="no way to choose"):
            await mesh.call("add", choice="best")

    on_stage(play)


def test_a_call_that_is_cancelled_is_cancelled_at_the_node() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        calling = asyncio.ensure_future(mesh.call("add"))
        await turn()
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        (call,), (cancel,) = node.heard(RpcCall), node.heard(RpcCancel)
        assert cancel.call == call.call
        # A result that comes nevertheless reaches nobody.
        node.tell(RpcResult(call.call, NOTHING))

    on_stage(play)


def test_a_call_that_was_under_way_is_never_made_again() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        calling = asyncio.ensure_future(mesh.call("add"))
        await turn()
        node.fall()
        with pytest.raises(NodeUnreachable, match="is gone: it fell"):
            await calling
        await node.connected.wait()
        assert len(node.heard(RpcCall)) == 1

    on_stage(play)


def test_a_call_that_could_not_be_made_yet_waits_for_the_node() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.fall()
        with pytest.raises(CallFailed, match="NO_PROVIDER: nobody answers add"):
            await mesh.call("add")
        node.fall(for_good=True)
        with pytest.raises(NodeUnreachable):
            await mesh.call("add", timeout_s=0.01)

    on_stage(play)


def test_a_node_that_hangs_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maculaos.client.calls._GRACE_S", 0.0)

    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        with pytest.raises(CallFailed, match=r"DEADLINE_EXCEEDED: no answer within 0.01 s"):
            await mesh.call("add", timeout_s=0.01)

    on_stage(play)


def test_a_cast_waits_for_nothing() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        await mesh.cast("log", "hello")
        (call,) = node.heard(RpcCall)
        assert (call.method, call.answering) == ("log", Answering.NONE)

    on_stage(play)


def test_a_stream_gives_its_parts_and_its_last_one_if_it_is_something() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        for last, wanted in ((NOTHING, [1, None]), (encode_value(7), [1, None, 7])):
            parts: list[Value] = []

            async def read(into: list[Value]) -> None:
                into += [part async for part in mesh.stream("count")]

            reading = asyncio.ensure_future(read(parts))
            await turn()
            (call,) = node.heard(RpcCall)
            assert (call.answering, call.credit) == (Answering.STREAM, _FIRST_WINDOW)
            node.tell(RpcResult(call.call, encode_value(1), True))
            node.tell(RpcResult(call.call, NOTHING, True))
            node.tell(RpcResult(call.call, last))
            await reading
            assert parts == wanted
            assert node.heard(RpcCancel) == []

    on_stage(play)


def test_a_stream_grants_more_as_its_parts_are_taken_and_cancels_what_is_left() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        parts = mesh.stream("count")
        first = asyncio.ensure_future(anext(parts))
        await turn()
        (call,) = node.heard(RpcCall)
        for number in range(_FIRST_WINDOW):
            node.tell(RpcResult(call.call, encode_value(number), True))
        assert await first == 0
        # The first part tells that they are small.
        (grant,) = node.heard(RpcCredit)
        assert (grant.call, grant.credit) == (call.call, _WINDOW - _FIRST_WINDOW + 1)
        for number in range(_FIRST_WINDOW, _WINDOW + 1):
            node.tell(RpcResult(call.call, encode_value(number), True))
        for number in range(1, _WINDOW // 2 + 1):
            assert await anext(parts) == number
        (grant,) = node.heard(RpcCredit)
        assert (grant.call, grant.credit) == (call.call, _WINDOW // 2)
        await parts.aclose()  # type: ignore[attr-defined]  # it is a generator
        (cancel,) = node.heard(RpcCancel)
        assert cancel.call == call.call

    on_stage(play)


def test_no_more_parts_are_wanted_than_fit_the_share_of_the_stream() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        one, other = mesh.stream("large"), mesh.stream("large")
        waiting = [asyncio.ensure_future(anext(one)), asyncio.ensure_future(anext(other))]
        await turn()
        calls = [call.call for call in node.heard(RpcCall)]
        part = encode_value(bytes(_WINDOW_BYTES // 8))
        for number in calls:
            node.tell(RpcResult(number, part, True))
        await asyncio.gather(*waiting)
        # Half of the bytes each: three parts, one of which was wanted already.
        assert [(each.call, each.credit) for each in node.heard(RpcCredit)] == [
            (number, 2) for number in calls
        ]
        await other.aclose()  # type: ignore[attr-defined]  # it is a generator
        node.tell(RpcResult(calls[0], part, True))
        await anext(one)
        (grant,) = node.heard(RpcCredit)
        assert (grant.call, grant.credit) == (calls[0], 5)
        await one.aclose()  # type: ignore[attr-defined]  # as above

    on_stage(play)


def test_a_stream_that_fails_says_so_after_what_came() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.leaves_open = (RpcCall,)
        parts = mesh.stream("count")
        first = asyncio.ensure_future(anext(parts))
        await turn()
        (call,) = node.heard(RpcCall)
        node.tell(RpcResult(call.call, encode_value(1), True))
        node.tell(RpcError(call.call, RpcErrorCode.HANDLER_FAILED, "no more"))
        assert await first == 1
        with pytest.raises(CallFailed, match="HANDLER_FAILED: no more"):
            await anext(parts)

    on_stage(play)
