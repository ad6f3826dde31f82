"""Links go down with a reason: closed, broken by bad bytes, or silent for too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from loopback import CONTROL, MESSAGES, open_node, run
from maculaos.quic.endings import Ending, cause_of
from maculaos.quic.endpoint import DialFailed
from maculaos.settings import LinkSettings
from maculaos.wire.messages import Close, Ping, encode_message
from maculaos.wire.registry import ErrorCode
from mesh_peers import raw_peer

if TYPE_CHECKING:
    from credentials import RealmFolder
    from mesh_peers import Recorder


async def end_told(recorder: Recorder) -> str:
    """Why the only link ended, as soon as the node is told."""
    await recorder.until(lambda: recorder.down)
    ((_, reason),) = recorder.down
    return reason


def test_reason_of_a_close_reaches_the_peer(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            await two.recorder.until(lambda: two.recorder.up)
            link.close(ErrorCode.DUPLICATE_LINK, "one is enough: " + "ü" * 1000)
            link.close(ErrorCode.INTERNAL, "said once only")
            assert not link.send(Ping(1), CONTROL)
            for recorder in (one.recorder, two.recorder):
                assert (await end_told(recorder)).startswith("DUPLICATE_LINK: one is enough")
            assert one.endpoint.links == two.endpoint.links == ()

    run(main())


def test_what_was_said_before_a_close_is_heard(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            assert link.send(Ping(1), CONTROL)
            assert link.send(Ping(2), MESSAGES)
            await one.endpoint.close("leaving")
            await two.recorder.until(lambda: two.recorder.down)
            assert two.recorder.heard == [Ping(1), Ping(2)]

    run(main())


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\x09", ErrorCode.MALFORMED),
        (b"\x00\x02\x01\x00\x00\x00\x00\x00\x00", ErrorCode.UNSUPPORTED_VERSION),
        (b"\x00\x01\x01\x00\x00\x00\x10\x00\x00", ErrorCode.TOO_LARGE),
        (b"\x00\x01\x01\x00\x00\x00\x00\x00\x00", ErrorCode.MALFORMED),
    ],
    ids=["stream class", "frame version", "frame size", "frame body"],
)
def test_bad_bytes_close_the_link_with_their_code(
    realm: RealmFolder, octets: bytes, code: ErrorCode
) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            peer.say(2, octets)
            assert await peer.refusal() == code

    run(main())


@pytest.mark.parametrize("code", [ErrorCode.LIMIT_EXCEEDED, ErrorCode.SHUTTING_DOWN])
def test_what_a_peer_says_in_close_is_its_own_word(realm: RealmFolder, code: ErrorCode) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = good.endpoint.links
            peer.say(2, encode_message(Close(code, "enough")))
            assert await end_told(good.recorder) == f"{code.name}: enough"
            assert link.ended == Ending(f"peer: {cause_of(code)}", f"{code.name}: enough")
            assert link.ended.raises_doubt == (code is ErrorCode.SHUTTING_DOWN)

    run(main())


def test_streams_live_as_long_as_their_link(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            peer.say(2, b"", end=True)
            assert await peer.refusal() == ErrorCode.MALFORMED
            await good.recorder.until(lambda: good.recorder.down)

    run(main())


def test_stopped_stream_ends_the_link_and_nothing_else(realm: RealmFolder) -> None:
    async def main() -> None:
        async with (
            open_node(realm, "n1") as good,
            raw_peer(realm.credentials("n2"), good.endpoint.address) as peer,
        ):
            await peer.greet()
            (link,) = good.endpoint.links
            peer.stop(3)
            # In every turn of the loop, something is queued when the datagram comes in.
            while link.send(Ping(1), CONTROL):  # noqa: ASYNC110  # each turn is wanted
                await asyncio.sleep(0)
            await good.recorder.until(lambda: good.recorder.down)
            assert await peer.refusal() == ErrorCode.MALFORMED

    run(main())


def test_shutdown_closes_every_link_and_says_so(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await one.endpoint.dial(two.address)
            await two.endpoint.dial(one.address)
            await one.recorder.until(lambda: len(one.recorder.up) == 2)
            await one.endpoint.close("maintenance")
            await one.endpoint.close("twice does no harm")
            assert [reason for _, reason in one.recorder.down] == ["SHUTTING_DOWN: maintenance"] * 2
            await two.recorder.until(lambda: len(two.recorder.down) == 2)
            assert [reason for _, reason in two.recorder.down] == ["SHUTTING_DOWN: maintenance"] * 2
            with pytest.raises(DialFailed, match="shutting down"):
                await one.endpoint.dial(two.address)

    run(main())


def test_peer_without_power_is_noticed_at_the_idle_timeout(realm: RealmFolder) -> None:
    async def main() -> None:
        settings = LinkSettings(idle_timeout_s=0.5)
        async with open_node(realm, "n1", link=settings) as good:
            async with raw_peer(realm.credentials("n2"), good.endpoint.address) as peer:
                await peer.greet()
            assert await end_told(good.recorder) == "Idle timeout"

    run(main())


def test_idle_link_is_kept_alive(realm: RealmFolder) -> None:
    async def main() -> None:
        settings = LinkSettings(idle_timeout_s=1.0)
        async with (
            open_node(realm, "n1", link=settings) as one,
            open_node(realm, "n2", link=settings) as two,
        ):
            link = await one.endpoint.dial(two.address)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await one.recorder.until(lambda: one.recorder.down)
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: two.recorder.heard)

    run(main())
