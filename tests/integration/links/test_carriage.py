"""How messages travel: by class and rank, in datagrams, and never at the cost of another peer."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from loopback import BULK, CONTROL, MESSAGES, event, open_node, run
from maculaos.effects import Carriage
from maculaos.quic.streams import RANKS
from maculaos.settings import LimitSettings
from maculaos.wire.events import Events
from maculaos.wire.messages import Ping, Pong, encode_message
from maculaos.wire.registry import ErrorCode, StreamClass
from mesh_peers import RawPeer, eventually, raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_more_urgent_messages_arrive_first_whatever_was_queued_first(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            by_rank = sorted(StreamClass, key=RANKS.__getitem__)
            for stream in reversed(by_rank):
                assert link.send(event(os.urandom(100_000), int(stream)), stream)
            await two.recorder.until(lambda: len(two.recorder.heard) == len(by_rank))
            heard = [said.sequence for said in two.recorder.heard if isinstance(said, Events)]
            assert heard == [int(stream) for stream in by_rank]

    run(main())


def test_full_bulk_queue_keeps_no_control_message_out(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(link_queue_bytes=200_000)
        async with open_node(realm, "n1", limits=limits) as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            while link.send(event(os.urandom(10_000)), BULK):
                pass
            assert one.endpoint.counts == {"BULK": 1}
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: Ping(1) in two.recorder.heard)

    run(main())


def test_peer_that_stops_reading_slows_no_other(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(link_queue_bytes=1_000_000)
        async with (
            open_node(realm, "n1", limits=limits) as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as deaf,
            open_node(realm, "n3") as good,
        ):
            await deaf.greet()
            (stuck,) = one.endpoint.links
            deaf.vanish()
            while stuck.send(event(os.urandom(10_000)), MESSAGES):
                pass
            link = await one.endpoint.dial(good.address)
            for number in range(1000):
                assert link.send(event(os.urandom(500), number), MESSAGES)
                assert not stuck.send(event(os.urandom(10_000)), MESSAGES)
            await good.recorder.until(lambda: len(good.recorder.heard) == 1000)
            # It is still up, and still stuck: it was not its end that set the others free.
            assert stuck.is_established
            assert stuck.counts == one.endpoint.counts == {"MESSAGES": 1001}
            assert stuck.queued_bytes <= 1_000_000

    run(main())


def test_thousand_small_messages_leave_in_few_packets(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            before = link.datagrams_sent
            for number in range(1000):
                assert link.send(Ping(number), CONTROL)
            await two.recorder.until(lambda: len(two.recorder.heard) == 1000)
            # 11 bytes each: ten datagrams of the smallest size, and a few that only acknowledge.
            assert link.datagrams_sent - before <= 16

    run(main())


def test_datagram_arrives_outside_of_every_stream(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = one.endpoint.links
            assert link.send(Ping(7), CONTROL, Carriage.DATAGRAM)
            await peer.until(lambda: peer.datagrams == [encode_message(Ping(7))])
            peer.throw(encode_message(Pong(7)) + encode_message(Ping(8)))
            await one.recorder.until(lambda: one.recorder.heard == [Pong(7), Ping(8)])

    run(main())


def test_message_too_large_for_a_datagram_goes_on_its_stream(realm: RealmFolder) -> None:
    async def main() -> None:
        large = event(os.urandom(2000))
        async with (
            open_node(realm, "n1") as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = one.endpoint.links
            assert link.send(large, CONTROL, Carriage.DATAGRAM)
            await peer.until(lambda: large in peer.heard)
            assert peer.datagrams == []

    run(main())


def test_peer_without_datagrams_gets_everything_on_streams(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            peer = RawPeer(realm.credentials("n2"))
            peer.quic.configuration.max_datagram_frame_size = None
            await peer.connect(one.endpoint.address)
            await peer.greet()
            (link,) = one.endpoint.links
            assert link.send(Ping(7), CONTROL, Carriage.DATAGRAM)
            await peer.until(lambda: Ping(7) in peer.heard)
            peer.vanish()

    run(main())


@pytest.mark.parametrize("data", [b"", b"\x01", encode_message(Ping(1))[:-1]])
def test_datagram_that_is_no_frame_ends_the_link(realm: RealmFolder, data: bytes) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as peer,
        ):
            await peer.greet()
            peer.throw(data)
            assert await peer.refusal() == ErrorCode.MALFORMED

    run(main())


def test_datagram_before_the_greeting_is_not_heard(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as one,
            raw_peer(realm.credentials("n2"), one.endpoint.address) as peer,
        ):
            peer.throw(encode_message(Ping(1)))
            await peer.greet()
            peer.throw(encode_message(Ping(2)))
            await one.recorder.until(lambda: one.recorder.heard == [Ping(2)])

    run(main())


def test_size_of_datagrams_rises_on_the_loopback(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            assert link.datagram_size == 1200
            assert link.send(event(os.urandom(1_000_000)), BULK)
            await eventually(lambda: link.datagram_size > 8000)
            await two.recorder.until(lambda: two.recorder.heard)

    run(main())


def test_first_word_of_a_quiet_link_leaves_at_once_and_a_busy_one_gathers(
    realm: RealmFolder,
) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)

            async def heard(count: int) -> None:
                await two.recorder.until(lambda: len(two.recorder.heard) == count)

            for number in range(5):
                before = link.datagrams_sent
                assert link.send(Ping(number), MESSAGES)
                assert link.datagrams_sent == before + 1
                await heard(number + 1)
            # Ten in one turn: from now on nobody waits for a single one.
            for number in range(5, 15):
                assert link.send(Ping(number), MESSAGES)
            await heard(15)
            before = link.datagrams_sent
            assert link.send(Ping(15), MESSAGES)
            assert link.datagrams_sent == before
            await heard(16)

    run(main())
