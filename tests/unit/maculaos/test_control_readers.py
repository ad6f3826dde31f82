"""Readers that are full: who publishes for them alone is held back, and nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maculaos.control.readers import Readers
from maculaos.wire.events import Post, Taken
from maculaos.wire.values import encode_value
from waits import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

READER, PUBLISHER = 1, 2
HI = encode_value("hi")


class Client:
    """A client, as far as its queue goes and that it can be held back."""

    def __init__(self) -> None:
        self.queued_bytes = 0
        self.orders: list[str] = []

    def pause(self) -> None:
        self.orders.append("pause")

    def resume(self) -> None:
        self.orders.append("resume")


def play(main: Callable[[Readers, Client, Client], Awaitable[None]]) -> None:
    async def limited() -> None:
        reader, publisher = Client(), Client()
        readers = Readers(
            800, {READER: reader, PUBLISHER: publisher}.get, lambda topic: topic == "alone"
        )
        try:
            async with asyncio.timeout(10):
                await main(readers, reader, publisher)
        finally:
            readers.close()

    asyncio.run(limited())


def test_who_publishes_for_a_full_reader_alone_waits_until_it_has_room() -> None:
    async def main(readers: Readers, reader: Client, publisher: Client) -> None:
        readers.spoke(PUBLISHER, Post(0, "alone", (HI,)))
        assert publisher.orders == []
        reader.queued_bytes = 400
        readers.full(READER)
        readers.spoke(PUBLISHER, Post(0, "alone", (HI,)))
        assert publisher.orders == ["pause"]
        reader.queued_bytes = 0
        readers.room(READER)
        await until(lambda: publisher.orders == ["pause", "resume"])
        readers.spoke(PUBLISHER, Post(0, "alone", (HI,)))
        assert publisher.orders == ["pause", "resume"]

    play(main)


def test_who_publishes_for_others_or_waits_for_confirmation_is_not_held_back() -> None:
    async def main(readers: Readers, reader: Client, publisher: Client) -> None:
        reader.queued_bytes = 400
        readers.full(READER)
        readers.spoke(PUBLISHER, Post(0, "shared", (HI,)))
        readers.spoke(PUBLISHER, Post(1, "alone", (HI,), acknowledge=True))
        readers.spoke(PUBLISHER, Taken(1, 5))
        assert publisher.orders == []

    play(main)


def test_a_reader_that_reads_nothing_is_not_waited_for() -> None:
    async def main(readers: Readers, reader: Client, publisher: Client) -> None:
        reader.queued_bytes = 400
        readers.full(READER)
        readers.spoke(PUBLISHER, Post(0, "alone", (HI,)))
        assert publisher.orders == ["pause"]
        await until(lambda: publisher.orders == ["pause", "resume"])
        assert reader.queued_bytes == 400

    play(main)
