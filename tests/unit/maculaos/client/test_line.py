"""The line to the node: states, how it comes back, and who is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from maculaos.client import Mesh, NodeUnreachable
from stagenode import StageNode, on_stage, turn

if TYPE_CHECKING:
    from collections.abc import Awaitable


def test_the_state_is_told_as_it_changes() -> None:
    states: list[str] = []

    async def play(node: StageNode, mesh: Mesh) -> None:
        mesh.on_state(states.append)
        node.fall()
        assert isinstance(await mesh.wait_lost(), NodeUnreachable)
        await node.connected.wait()
        await turn()
        assert mesh.state == "connected"
        await mesh.close()
        await mesh.close()
        await turn()

    on_stage(play)
    assert states == ["reconnecting", "connected", "closed"]


def test_who_waits_for_the_end_waits_until_the_node_is_gone() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        waiting = asyncio.ensure_future(mesh.wait_lost())
        await turn(2)
        assert not waiting.done()
        node.fall()
        assert "it fell" in str(await waiting)
        assert mesh.state == "lost"

    on_stage(play, reconnect=False)


def test_a_node_that_stays_away_is_looked_for_again_and_again() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.fall(for_good=True)
        with pytest.raises(NodeUnreachable):
            await mesh.call("macula.ping", timeout_s=0.05)
        node.is_up = True
        await mesh.ping()

    on_stage(play)


def test_closing_ends_what_waits_even_while_the_node_is_looked_for() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.fall(for_good=True)
        subscription = mesh.subscribe("t")
        doing: list[Awaitable[object]] = [mesh.call("x"), mesh.publish("t", 1, acknowledge=True)]
        waiting = [asyncio.ensure_future(each) for each in doing]
        await turn(2)
        await mesh.close()
        for each in waiting:
            with pytest.raises(NodeUnreachable, match="this program closed"):
                await each
        assert [event async for event in subscription] == []

    on_stage(play)


def test_a_program_that_is_cancelled_while_it_closes_leaves_no_connection_open() -> None:
    async def play(node: StageNode, mesh: Mesh) -> None:
        node.is_full = True
        mesh.publish_now("t", 1)
        closing = asyncio.ensure_future(mesh.close())
        await turn()
        assert not node.is_closed
        closing.cancel()
        await asyncio.wait({closing})
        assert closing.cancelled()
        assert node.is_closed

    on_stage(play)
