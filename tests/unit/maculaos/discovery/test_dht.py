"""Records that a node finds by and by, awaited."""

from __future__ import annotations

import asyncio

import pytest

from discovering import bounded
from maculaos.discovery.dht import DhtRecords


class Searches:
    """Takes note of what is begun and said."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.said: list[tuple[bytes, bytes]] = []
        self.records = DhtRecords(self.begun.append, lambda *said: self.said.append(said))


def test_one_search_answers_all_who_wait_for_its_key() -> None:
    async def main() -> None:
        node = Searches()
        waiting = [asyncio.create_task(node.records.lookup(key)) for key in (b"k", b"k", b"x")]
        await asyncio.sleep(0)
        assert node.begun == [b"k", b"x"]
        node.records.found(b"k", [b"1", b"2"])
        assert await asyncio.gather(*waiting[:2]) == [(b"1", b"2")] * 2
        node.records.found(b"x", ())
        assert await waiting[2] == ()
        node.records.found(b"x", [b"late"])

    bounded(main())


def test_whoever_gives_up_ends_it_for_no_other_and_can_ask_again() -> None:
    async def main() -> None:
        node = Searches()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await node.records.lookup(b"k")
        again = asyncio.create_task(node.records.lookup(b"k"))
        await asyncio.sleep(0)
        assert node.begun == [b"k", b"k"]
        node.records.found(b"k", [b"1"])
        assert await again == (b"1",)

    bounded(main())


def test_a_search_may_be_over_at_once() -> None:
    async def main() -> None:
        def begin(key: bytes) -> None:
            records.found(key, [b"here"])

        records = DhtRecords(begin, lambda *_: None)
        assert await records.lookup(b"k") == (b"here",)

    bounded(main())


def test_what_this_node_says_is_passed_on() -> None:
    async def main() -> None:
        node = Searches()
        await node.records.publish(b"k", b"v")
        assert node.said == [(b"k", b"v")]

    bounded(main())
