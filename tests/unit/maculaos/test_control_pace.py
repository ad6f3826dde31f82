"""Publishers faster than links: held back while a queue moves, and let go when there is room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from maculaos.control.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import pytest


class Link:
    """A link, as far as its queue goes."""

    queued_bytes = 0


class Client:
    """A client that can be held back."""

    def __init__(self) -> None:
        self.orders = ["resume"]

    def pause(self) -> None:
        self.orders.append("pause")

    def resume(self) -> None:
        self.orders.append("resume")


def is_held(client: Client) -> bool:
    """Whether the last order for it was to pause."""
    return client.orders[-1] == "pause"


def play(main: Callable[[Pace, dict[int, Client]], Awaitable[None]]) -> None:
    async def limited() -> None:
        clients = {1: Client(), 2: Client()}
        pace = Pace(800, clients.get)
        try:
            async with asyncio.timeout(10):
                await main(pace, clients)
        finally:
            pace.close()

    asyncio.run(limited())


async def until(holds: Callable[[], bool]) -> None:
    while True:
        if holds():
            return
        await asyncio.sleep(0.001)


def test_who_publishes_into_a_crowded_queue_waits_until_it_has_room() -> None:
    async def main(pace: Pace, clients: dict[int, Client]) -> None:
        link = Link()
        pace.spoke(1)
        assert not is_held(clients[1])
        link.queued_bytes = pace.full_bytes + 1
        pace.crowd(link)
        pace.spoke(1)
        assert [is_held(each) for each in clients.values()] == [True, False]
        for left in range(pace.full_bytes, 50, -10):
            link.queued_bytes = left
            await asyncio.sleep(0)
        assert is_held(clients[1])
        link.queued_bytes = 50
        await until(lambda: not is_held(clients[1]))
        pace.spoke(2)
        assert not is_held(clients[2])

    play(main)


def test_a_link_that_does_not_move_holds_nobody_back_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("maculaos.control.pace._STALLED_S", 0.01)

    async def main(pace: Pace, clients: dict[int, Client]) -> None:
        link = Link()
        link.queued_bytes = 500
        pace.crowd(link)
        pace.spoke(1)
        assert is_held(clients[1])
        await until(lambda: not is_held(clients[1]))
        pace.spoke(1)
        assert not is_held(clients[1])
        # Now it moves again.
        link.queued_bytes = 400
        pace.spoke(1)
        assert is_held(clients[1])

    play(main)


def test_a_link_that_is_gone_is_waited_for_no_more() -> None:
    async def main(pace: Pace, clients: dict[int, Client]) -> None:
        link = Link()
        link.queued_bytes = 500
        pace.crowd(link)
        pace.spoke(1)
        pace.forget(link)
        await until(lambda: not is_held(clients[1]))

    play(main)


def test_a_client_that_left_meanwhile_is_nobody() -> None:
    async def main(pace: Pace, clients: dict[int, Client]) -> None:
        link = Link()
        link.queued_bytes = 500
        pace.crowd(link)
        pace.spoke(1)
        pace.spoke(3)
        del clients[1]
        link.queued_bytes = 0
        pace.crowd(link)
        await asyncio.sleep(0.005)
        pace.spoke(2)
        assert not is_held(clients[2])

    play(main)
