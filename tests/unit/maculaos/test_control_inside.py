"""A program in the process of its node: one more client, and neither runs inside of the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lone_node import LoneNode, lone_node
from maculaos.control.pace import Pace
from maculaos.wire.events import Delivery, Post, Watch
from maculaos.wire.messages import Message, RpcResult
from maculaos.wire.registry import ErrorCode
from maculaos.wire.values import encode_value
from waits import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest

HI = encode_value("hi")


class Queue:
    """What is crowded, and moves."""

    queued_bytes = 400


class Recorder:
    """A program that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[Message] = []
        self.rooms = 0
        self.reasons: list[str] = []

    def take(self, message: Message) -> None:
        self.told.append(message)

    def room(self) -> None:
        self.rooms += 1

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


def play(main: Callable[[LoneNode], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10), lone_node() as node:
            await main(node)

    asyncio.run(limited())


def test_what_the_node_says_waits_until_the_loop_comes_round() -> None:
    async def main(node: LoneNode) -> None:
        program = Recorder()
        inside = node.control.enter_inside(program, "test")
        node.client_message(inside.number, Watch(1, 7, "t", 100))
        payloads = (HI, HI)
        node.client_message(inside.number, Post(2, "t", payloads))
        assert program.told == []
        await asyncio.sleep(0)
        assert {type(each) for each in program.told} == {RpcResult, Delivery}
        (delivery,) = [each for each in program.told if isinstance(each, Delivery)]
        # The very objects: nothing was encoded on the way.
        assert delivery.payloads is payloads

    play(main)


def test_whoever_leaves_hears_no_more_and_the_node_knows() -> None:
    async def main(node: LoneNode) -> None:
        program = Recorder()
        inside = node.control.enter_inside(program, "test")
        inside.close()
        inside.close()
        assert node.went == ["the program left"]
        assert not node.control.send(inside.number, Post(0, "t", (HI,)))
        assert not inside.send(Post(0, "t", (HI,)))
        await asyncio.sleep(0)
        assert (program.told, program.reasons) == ([], [])

    play(main)


def test_a_program_that_is_ended_hears_what_was_said_and_why_it_ends() -> None:
    async def main(node: LoneNode) -> None:
        program = Recorder()
        inside = node.control.enter_inside(program, "test")
        node.client_message(inside.number, Watch(1, 7, "t", 100))
        node.control.close_client(inside.number, ErrorCode.MALFORMED, "for a reason")
        node.control.close_client(inside.number, ErrorCode.MALFORMED, "for another")
        await asyncio.sleep(0)
        assert len(program.told) == 1
        assert program.reasons == ["for a reason"]
        assert node.went == ["for a reason"]

    play(main)


def test_a_program_that_is_held_back_is_told_when_there_is_room() -> None:
    async def main(node: LoneNode) -> None:
        program = Recorder()
        inside = node.control.enter_inside(program, "test")
        inside.pause()
        assert (inside.is_full, program.rooms) == (True, 0)
        inside.resume()
        assert (inside.is_full, program.rooms) == (False, 1)

    play(main)


def test_a_program_held_back_for_a_link_and_a_reader_goes_on_when_both_have_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maculaos.control.pace._STALLED_S", 60)

    async def main(node: LoneNode) -> None:
        program = Recorder()
        inside = node.control.enter_inside(program, "test")
        link, reader = Queue(), Queue()
        for_links, for_readers = Pace(800, node.control.find), Pace(800, node.control.find)
        for pace, queue in ((for_links, link), (for_readers, reader)):
            pace.crowd(queue)
            pace.spoke(inside.number)
        for_links.forget(link)
        await until(lambda: not for_links._held)
        assert (inside.is_full, program.rooms) == (True, 0)
        for_readers.forget(reader)
        await until(lambda: not inside.is_full)
        assert program.rooms == 1
        for_links.close()
        for_readers.close()

    play(main)
