"""Messages cross a link whole, once and in order, within its bounds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec import Raw

from loopback import BULK, CONTROL, MESSAGES, event, open_node, run
from maculaos.settings import LimitSettings
from maculaos.wire.events import Events
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError, encode_frame
from maculaos.wire.messages import Error, Ping, Pong, RpcResult, encode_message
from mesh_peers import eventually, raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder


def result(payload: bytes) -> RpcResult:
    """A result may be as large as a frame; an event has to leave room."""
    return RpcResult(1, Raw(msgspec.msgpack.encode(payload)))


def test_largest_message_passes_and_one_byte_more_is_our_error(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            empty = len(encode_message(result(bytes(70_000)))) - 70_000 - 8
            largest = result(os.urandom(MAX_PAYLOAD_SIZE - empty))
            assert len(encode_message(largest)) == MAX_PAYLOAD_SIZE + 8
            assert link.send(largest, MESSAGES)
            await two.recorder.until(lambda: two.recorder.heard)
            assert two.recorder.heard == [largest]
            await eventually(lambda: link.queued_bytes == 0)
            with pytest.raises(FrameError):
                link.send(result(bytes(MAX_PAYLOAD_SIZE - empty + 1)), MESSAGES)

    run(main())


def test_many_small_messages_arrive_once_and_in_order(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            for number in range(5000):
                assert link.send(Ping(number), CONTROL)
                assert link.send(Pong(number), MESSAGES)
                assert link.send(event(b"x" * 50, number), BULK)
            await two.recorder.until(lambda: len(two.recorder.heard) >= 15_000)
            for kind in (Ping, Pong, Events):
                heard = [said.sequence for said in two.recorder.heard if isinstance(said, kind)]
                assert heard == list(range(5000))

    run(main())


def test_small_message_overtakes_a_large_one_on_another_stream(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            assert link.send(event(os.urandom(4 * 1024 * 1024)), MESSAGES)
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: len(two.recorder.heard) == 2)
            assert two.recorder.heard[0] == Ping(1)

    run(main())


def test_full_queue_refuses_and_empties_again(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(link_queue_bytes=100_000)
        async with open_node(realm, "n1", limits=limits) as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            sent = 0
            while link.send(event(os.urandom(1000), sent), MESSAGES):
                sent += 1
                assert link.queued_bytes <= 100_000
            assert 90 < sent < 100
            await two.recorder.until(lambda: len(two.recorder.heard) == sent)
            await eventually(lambda: link.queued_bytes == 0)
            assert link.send(event(os.urandom(1000)), MESSAGES)

    run(main())


def test_messages_of_one_turn_leave_in_few_datagrams(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            before = link.bytes_sent
            for number in range(100):
                assert link.send(Ping(number), CONTROL)
            await two.recorder.until(lambda: len(two.recorder.heard) == 100)
            # 100 frames of 11 bytes: alone in their packets, they would be ten times as much.
            assert link.bytes_sent - before < 3000

    run(main())


def test_unknown_frame_type_is_answered_and_the_link_lives(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            peer.say(2, encode_frame(Frame(0x7F, b"from a newer peer")))
            await peer.until(lambda: any(isinstance(said, Error) for said in peer.heard))
            peer.say(2, encode_message(Ping(7)))
            await good.recorder.until(lambda: good.recorder.heard == [Ping(7)])

    run(main())


def test_link_follows_its_peer_to_another_port_and_connection_id(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = good.endpoint.links
            before = link.remote
            await peer.move()
            peer.say(2, encode_message(Ping(1)))
            await good.recorder.until(lambda: good.recorder.heard == [Ping(1)])
            await eventually(lambda: link.remote != before)
            assert link.send(Ping(2), CONTROL)
            await peer.until(lambda: Ping(2) in peer.heard)

    run(main())
