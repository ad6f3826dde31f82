"""Packed messages and newer peers on real links: long ones are cut, ERROR is said."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from loopback import CONTROL, MESSAGES, event, open_node, run
from maculaos.wire.frames import HEADER, Frame, encode_frame
from maculaos.wire.messages import Error, Ping
from maculaos.wire.packing import Packer
from maculaos.wire.registry import WIRE_VERSION, ErrorCode, StreamClass
from mesh_peers import eventually, raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder


def test_text_and_noise_arrive_as_they_were_and_no_near_node_waits_for_zlib(
    realm: RealmFolder,
) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            costs = []
            text = b"".join(b'{"sensor": %d, "unit": "celsius"}' % n for n in range(6000))
            for payload in (text, os.urandom(len(text))):
                before, count = link.bytes_sent, len(two.recorder.heard)
                assert link.send(event(payload), MESSAGES)
                await two.recorder.until(lambda count=count: len(two.recorder.heard) > count)  # type: ignore[misc]
                assert two.recorder.heard[-1] == event(payload)
                costs.append(link.bytes_sent - before)
            # The loopback carries bytes in less time than it takes to save them.
            assert min(costs) > 0.9 * len(text)

    run(main())


def test_whole_frames_between_fragments_do_not_wait(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            long = event(os.urandom(100_000))
            first, last = Packer().pack(long)
            (ping,) = Packer().pack(Ping(1))
            peer.say(2, first + ping)
            await good.recorder.until(lambda: good.recorder.heard == [Ping(1)])
            peer.say(2, last)
            await good.recorder.until(lambda: good.recorder.heard == [Ping(1), long])

    run(main())


def test_words_on_a_stream_put_off_when_the_next_fragment_is_due(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = good.endpoint.links
            first, _ = Packer().pack(event(os.urandom(100_000)))
            (ping,) = Packer().pack(Ping(1))
            peer.say(2, first)
            await eventually(lambda: link._overdue_at() < math.inf)
            due = link._overdue_at()
            peer.say(2, ping)
            await good.recorder.until(lambda: good.recorder.heard == [Ping(1)])
            assert due < link._overdue_at() < math.inf

    run(main())


def test_unknown_version_is_told_which_one_is_spoken(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as good:
            for has_greeted in (True, False):
                credentials = realm.credentials("n2")
                async with raw_peer(credentials, good.endpoint.address) as peer:
                    if has_greeted:
                        await peer.greet()
                    opening = b"" if has_greeted else bytes([StreamClass.CONTROL])
                    peer.say(2, opening + HEADER.pack(WIRE_VERSION + 1, 1, 0, 0))
                    assert await peer.refusal() == ErrorCode.UNSUPPORTED_VERSION
                    (error,) = [said for said in peer.heard if isinstance(said, Error)]
                    assert error.code == ErrorCode.UNSUPPORTED_VERSION
                    assert error.version == WIRE_VERSION

    run(main())


def test_unknown_flag_ends_the_link(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = good.endpoint.links
            assert link.send(Ping(1), CONTROL)
            peer.say(2, encode_frame(Frame(0x04, b"\x91\x01", 0x0008)))
            assert await peer.refusal() == ErrorCode.MALFORMED

    run(main())
