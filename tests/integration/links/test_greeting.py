"""Links come up between real endpoints, and nothing counts before both have greeted."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from loopback import CONTROL, QUICK, open_node, run
from maculaos.quic.endpoint import DialFailed
from maculaos.wire.messages import Ping, encode_message
from maculaos.wire.registry import ErrorCode, StreamClass
from mesh_peers import raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_both_ends_know_who_the_other_is(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            await two.recorder.until(lambda: two.recorder.up)
            (other,) = two.recorder.up
            assert one.recorder.up == [link]
            assert (link.is_outbound, other.is_outbound) == (True, False)
            assert link.peer == realm.credentials("n2").identity
            assert other.peer == realm.credentials("n1").identity
            assert link.peer_addresses == (two.address,)
            assert other.peer_addresses == (one.address,)
            assert link.remote == two.address
            assert other.remote == one.address
            assert one.endpoint.links == (link,)

    run(main())


def test_names_are_resolved(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(f"localhost:{two.endpoint.address.port}")
            assert link.peer.name == "n2"

    run(main())


def test_one_port_listens_and_dials_at_the_same_time(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            there, back = await asyncio.gather(
                one.endpoint.dial(two.address), two.endpoint.dial(one.address)
            )
            await one.recorder.until(lambda: len(one.recorder.up) == 2)
            await two.recorder.until(lambda: len(two.recorder.up) == 2)
            assert there.send(Ping(1), CONTROL)
            assert back.send(Ping(2), CONTROL)
            await two.recorder.until(lambda: Ping(1) in two.recorder.heard)
            await one.recorder.until(lambda: Ping(2) in one.recorder.heard)
            assert {link.remote for link in one.endpoint.links} == {two.address}
            assert len({link.number for link in one.endpoint.links}) == 2

    run(main())


def test_nothing_counts_before_the_greeting(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as good:
            for stream in StreamClass:
                async with raw_peer(realm.credentials("n2"), good.endpoint.address) as peer:
                    peer.say(2, bytes([stream]) + encode_message(Ping(1)))
                    assert await peer.refusal() == ErrorCode.NOT_ALLOWED_YET
            assert good.endpoint.refused == Counter({"not allowed yet": len(StreamClass)})
            assert not good.recorder.up

    run(main())


def test_silent_peer_is_refused_in_time(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1", link=QUICK) as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            assert await peer.refusal() == ErrorCode.HANDSHAKE_TIMEOUT
            assert good.endpoint.refused == Counter({"handshake timeout": 1})

    run(main())


def test_own_address_is_not_a_peer(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            with pytest.raises(DialFailed, match="SELF_DIALLED"):
                await one.endpoint.dial(one.address)
            assert not one.recorder.up

    run(main())
