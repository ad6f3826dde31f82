"""An endpoint moves to another address, and its links with it."""

from __future__ import annotations

import os
import select
import socket
from functools import partial
from typing import TYPE_CHECKING

import pytest

from loopback import BULK, CONTROL, MESSAGES, event, open_node, run
from maculaos.errors import UsageError
from maculaos.wire.events import Events
from maculaos.wire.messages import Ping
from mesh_peers import eventually

if TYPE_CHECKING:
    from credentials import RealmFolder
    from maculaos.quic.link import Link
    from mesh_peers import Node

COUNT = 60
PIECE = 50_000


def pour(link: Link) -> None:
    """Queue what takes a while to send."""
    for number in range(COUNT):
        assert link.send(event(os.urandom(PIECE), number), BULK)


def heard_all(node: Node) -> bool:
    """Whether all of it came; once each, and in order."""
    numbers = [said.sequence for said in node.recorder.heard if isinstance(said, Events)]
    assert numbers == list(range(len(numbers)))
    return len(numbers) == COUNT


@pytest.mark.parametrize("mover", ["dialler", "listener"])
@pytest.mark.parametrize("linger_s", [3.0, 0.0], ids=["old address stays", "old address gone"])
def test_rebinding_in_the_middle_of_a_transfer_loses_nothing(
    realm: RealmFolder, monkeypatch: pytest.MonkeyPatch, mover: str, linger_s: float
) -> None:
    monkeypatch.setattr("maculaos.quic.endpoint.LINGER_S", linger_s)

    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            there = await one.endpoint.dial(two.address)
            await two.recorder.until(lambda: two.recorder.up)
            back = two.recorder.up[0]
            pour(there)
            pour(back)
            await two.recorder.until(lambda: two.recorder.heard)
            assert not heard_all(one)
            moving, other = (one, back) if mover == "dialler" else (two, there)
            before = other.remote
            await moving.endpoint.rebind("127.0.0.2")
            await eventually(lambda: heard_all(one) and heard_all(two))
            await eventually(lambda: other.remote == str(moving.endpoint.address))
            assert other.remote != before
            assert one.recorder.down == two.recorder.down == []

    run(main())


def test_endpoint_that_moved_is_dialled_at_its_new_address(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await one.endpoint.rebind("127.0.0.2", 0)
            assert one.endpoint.address.host == "127.0.0.2"
            link = await two.endpoint.dial(one.address)
            # What it tells of itself is the new address, too.
            assert link.peer_addresses == (one.address,)

    run(main())


def test_many_moves_in_a_row_keep_the_link(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            for number in range(2, 8):
                await one.endpoint.rebind(f"127.0.0.{number}", 0)
                assert link.send(Ping(number), CONTROL)
                await two.recorder.until(partial(two.recorder.heard.__contains__, Ping(number)))
            assert one.recorder.down == two.recorder.down == []

    run(main())


@pytest.mark.parametrize("host", ["192.0.2.1", "::1"])
def test_move_to_where_it_cannot_be_changes_nothing(realm: RealmFolder, host: str) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link, before = await one.endpoint.dial(two.address), one.address
            with pytest.raises(UsageError):
                await one.endpoint.rebind(host, 0)
            assert one.address == before
            assert link.send(Ping(1), MESSAGES)
            await two.recorder.until(lambda: two.recorder.heard == [Ping(1)])

    run(main())


def test_both_ports_are_free_again_after_the_end(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            addresses = [one.endpoint.address]
            await one.endpoint.rebind("127.0.0.2", 0)
            addresses.append(one.endpoint.address)
        for address in addresses:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
                free.bind((address.host, address.port))
                assert select.select([free], [], [], 0)[0] == []

    run(main())
