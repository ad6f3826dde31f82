"""The way out: what a full link costs, and links that end after a grace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from maculaos.control.pace import Pace
from maculaos.effects import Carriage, CloseLink, Send
from maculaos.outgoing import Outgoing
from maculaos.wire.messages import Message, RpcCall, RpcCancel, RpcCredit, RpcError, RpcResult
from maculaos.wire.registry import MESSAGE_STREAMS, Answering, ErrorCode, RpcErrorCode, StreamClass
from maculaos.wire.values import encode_value
from waits import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.quic.link import Link

NOTHING = encode_value(None)
MESSAGES = MESSAGE_STREAMS[2]


class FullLink:
    """A link whose queue takes nothing, or what is urgent only."""

    queued_bytes = 0

    def __init__(self) -> None:
        self.ended: list[ErrorCode] = []
        self.has_urgent_room = True
        self.said: list[Message] = []

    def send(self, message: Message, stream: StreamClass, carriage: Carriage) -> bool:
        del carriage
        if stream is not StreamClass.URGENT or not self.has_urgent_room:
            return False
        self.said.append(message)
        return True

    def holds_more_than(self, size: int) -> bool:
        del size
        return False

    def close(self, code: ErrorCode, reason: str) -> None:
        del reason
        self.ended.append(code)


def play(main: Callable[[Outgoing, FullLink, list[Message]], Awaitable[None]]) -> None:
    async def limited() -> None:
        link = FullLink()
        heard: list[Message] = []
        outgoing = Outgoing(
            {1: cast("Link", link)},
            Pace(800, lambda _: None),
            lambda _, message: heard.append(message),
        )
        async with asyncio.timeout(10):
            await main(outgoing, link, heard)

    asyncio.run(limited())


def call(number: int, answering: Answering = Answering.ONE) -> RpcCall:
    return RpcCall(number, "m", 60_000, b"", NOTHING, answering=answering)


def test_a_call_that_finds_its_link_full_is_refused_at_once() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        outgoing.send(Send(1, call(5), MESSAGES))
        # Not amid the step of the node that it comes from.
        assert heard == []
        await asyncio.sleep(0)
        (refusal,) = heard
        assert isinstance(refusal, RpcError)
        assert (refusal.call, refusal.code) == (5, RpcErrorCode.OVERLOADED)
        assert (outgoing.dropped, link.ended) == (1, [])

    play(main)


def test_what_nobody_waits_for_is_dropped_and_counted() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        outgoing.send(Send(1, call(5, Answering.NONE), MESSAGES))
        outgoing.send(Send(9, call(7), MESSAGES))
        await asyncio.sleep(0)
        assert (heard, outgoing.dropped, link.ended) == ([], 1, [])
        assert link.said == []

    play(main)


def test_a_result_that_finds_its_link_full_becomes_an_error_and_goes_no_further() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        outgoing.send(Send(1, RpcResult(6, NOTHING, True), MESSAGES))
        assert heard == []
        (error,) = link.said
        assert isinstance(error, RpcError)
        assert (error.call, error.code) == (6, RpcErrorCode.PROVIDER_LOST)
        await asyncio.sleep(0)
        # Its provider is to stop: the caller has heard the end.
        assert heard == [RpcCancel(6)]
        assert (outgoing.dropped, link.ended) == (1, [])

    play(main)


def test_words_that_somebody_waits_for_go_ahead_of_a_full_queue() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        words: list[Message] = [
            RpcError(1, RpcErrorCode.NO_PROVIDER, ""),
            RpcCancel(2),
            RpcCredit(3, 4),
        ]
        for word in words:
            outgoing.send(Send(1, word, MESSAGES))
        assert (link.said, link.ended) == (words, [])
        link.has_urgent_room = False
        outgoing.send(Send(1, words[0], MESSAGES))
        assert link.ended == [ErrorCode.LIMIT_EXCEEDED]
        await asyncio.sleep(0)
        assert heard == []

    play(main)


def test_a_link_that_misses_a_word_of_control_ends() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        outgoing.send(Send(1, call(5), StreamClass.CONTROL))
        await asyncio.sleep(0)
        assert (heard, link.ended) == ([], [ErrorCode.LIMIT_EXCEEDED])

    play(main)


def test_a_link_ends_at_once_or_after_its_grace() -> None:
    async def main(outgoing: Outgoing, link: FullLink, heard: list[Message]) -> None:
        del heard
        outgoing.end(CloseLink(1, ErrorCode.DUPLICATE_LINK, "", 0.01))
        outgoing.end(CloseLink(1, ErrorCode.SPARE_LINK, ""))
        outgoing.end(CloseLink(9, ErrorCode.SPARE_LINK, ""))
        assert link.ended == [ErrorCode.SPARE_LINK]
        await until(lambda: len(link.ended) == 2)
        assert link.ended[1] is ErrorCode.DUPLICATE_LINK

    play(main)
