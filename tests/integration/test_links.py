"""Laws of links, over real QUIC on the loopback interface."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import select
import socket
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from cryptography.x509.oid import ExtendedKeyUsageOID
from msgspec import Raw

from credentials import DAY_S, RealmFolder, make_realm, signed_anew
from maculaos.errors import UsageError
from maculaos.host.clock import FakeClock, SystemClock
from maculaos.quic.endpoint import DialFailed, Endpoint
from maculaos.quic.mutual_tls import ALPN
from maculaos.settings import LimitSettings, LinkSettings, ListenSettings
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError, encode_frame
from maculaos.wire.messages import Error, Event, Ping, Pong, encode_message
from maculaos.wire.registry import ErrorCode, StreamClass
from mesh_peers import RawPeer, Recorder, eventually, node, raw_peer

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from maculaos.security.credentials import Credentials

CLIENT, SERVER = (
    usage.dotted_string
    for usage in (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
)
QUICK = LinkSettings(handshake_timeout_s=1.0)
CONTROL, MESSAGES, BULK = StreamClass.CONTROL, StreamClass.MESSAGES, StreamClass.BULK


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    made = make_realm(tmp_path_factory.mktemp("links"))
    for name in ("n1", "n2", "n3"):
        made.issue(name)
    return made


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run ``test`` with a deadline; it leaves no task, and no callback of the loop fails."""
    failures: list[dict[str, Any]] = []

    async def bounded() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, failure: failures.append(failure))
        async with asyncio.timeout(50):
            await test
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert failures == []

    asyncio.run(bounded())


def open_node(realm: RealmFolder, name: str, **changes: Any) -> Any:
    return node(realm.node_settings(name, **changes), realm.credentials(name))


def event(payload: bytes, sequence: int = 1) -> Event:
    return Event("topic", bytes(32), sequence, Raw(msgspec.msgpack.encode(payload)))


# --- links come up ---------------------------------------------------------------------------


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


# --- refusals: certificates ------------------------------------------------------------------


def intruder(case: str, realm: RealmFolder, tmp_path: Path) -> Credentials:
    """Bad credentials that trust the realm themselves, so that only the other end can refuse."""
    good = realm.credentials("n2")
    match case.split(": "):
        case ["foreign", name]:
            stranger = make_realm(tmp_path, name).credentials("n2")
            return replace(good, certificate=stranger.certificate, key=stranger.key)
        case ["dated", "expired"]:
            return realm.dated("late", starts_in_days=-3)
        case ["dated", _]:
            return realm.dated("early", starts_in_days=1)
        case ["another realm"]:
            return signed_anew(realm, good, realm="work", usages=(CLIENT, SERVER))
        case ["usages", *usages]:
            return signed_anew(realm, good, realm="home", usages=tuple(usages))
        case _:
            # Somebody copied the certificate and does not have the key.
            return replace(good, key=realm.credentials("n3").key)


FOREIGN = "not signed by this realm's authority"
REFUSALS = [
    ("foreign: home", "foreign authority", FOREIGN),
    ("foreign: work", "foreign authority", FOREIGN),
    ("dated: expired", "expired", "expired at"),
    ("dated: not yet valid", "not yet valid", "not valid before"),
    ("another realm", "another realm", "of realm work, not home"),
    (f"usages: {CLIENT}", "missing usage", "not for both ends"),
    (f"usages: {SERVER}", "missing usage", "not for both ends"),
    ("stolen certificate", "transport", "decrypt error"),
]


@pytest.mark.parametrize(("case", "cause", "words"), REFUSALS)
def test_bad_dialler_is_refused_and_told_why(
    realm: RealmFolder, tmp_path: Path, case: str, cause: str, words: str
) -> None:
    async def main() -> None:
        bad = intruder(case, realm, tmp_path)
        async with (
            open_node(realm, "n1") as good,
            node(realm.node_settings("n2"), bad) as dialler,
        ):
            with pytest.raises(DialFailed, match=f"refused by the peer: .*{words}"):
                await dialler.endpoint.dial(good.address)
            assert good.endpoint.refused == Counter({cause: 1})
            assert good.recorder.up == dialler.recorder.up == []
            assert good.endpoint.links == dialler.endpoint.links == ()

    run(main())


def test_dialler_without_a_certificate_is_refused(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as good:
            peer = RawPeer(realm.credentials("n2"), has_certificate=False)
            await peer.connect(good.endpoint.address)
            alert = int(AlertDescription.certificate_required)
            assert await peer.refusal() == QuicErrorCode.CRYPTO_ERROR + alert
            await eventually(lambda: good.endpoint.refused)
            assert good.endpoint.refused == Counter({"no certificate": 1})
            assert good.recorder.up == []
            peer.vanish()

    run(main())


@pytest.mark.parametrize(("case", "cause", "words"), REFUSALS)
def test_bad_listener_is_refused_by_who_dials_it(
    realm: RealmFolder, tmp_path: Path, case: str, cause: str, words: str
) -> None:
    async def main() -> None:
        bad = intruder(case, realm, tmp_path)
        async with (
            open_node(realm, "n1") as good,
            node(realm.node_settings("n2"), bad) as listener,
        ):
            with pytest.raises(DialFailed, match=words) as failed:
                await good.endpoint.dial(listener.address)
            assert "by the peer" not in str(failed.value)
            assert good.endpoint.refused == Counter({cause: 1})
            await eventually(lambda: listener.endpoint.refused)
            assert good.recorder.up == listener.recorder.up == []

    run(main())


def test_two_whole_realms_never_meet(realm: RealmFolder, tmp_path: Path) -> None:
    async def main() -> None:
        work = make_realm(tmp_path, "work")
        work.issue("n2")
        async with open_node(realm, "n1") as one, open_node(work, "n2") as two:
            for dialler, listener in ((one, two), (two, one)):
                with pytest.raises(DialFailed, match="not signed by this realm's authority"):
                    await dialler.endpoint.dial(listener.address)
            assert one.recorder.up == two.recorder.up == []

    run(main())


def test_certificate_dates_are_read_from_the_given_clock(realm: RealmFolder) -> None:
    async def main() -> None:
        late = FakeClock(SystemClock().now() + 100 * DAY_S)
        credentials = realm.credentials("n1")
        endpoint = await Endpoint.open(
            realm.node_settings("n1"), credentials, Recorder(), late, port=0
        )
        async with open_node(realm, "n2") as two:
            with pytest.raises(DialFailed, match=r"refused by the peer: .*expired at"):
                await two.endpoint.dial(str(endpoint.address))
        await endpoint.close("test over")
        assert endpoint.refused == Counter({"expired": 1})

    run(main())


# --- refusals: first words -------------------------------------------------------------------


def test_nothing_counts_before_the_greeting(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as good:
            for stream in StreamClass:
                async with raw_peer(realm.credentials("n2"), good.endpoint.address) as peer:
                    peer.say(2, bytes([stream]) + encode_message(Ping(1)))
                    assert await peer.refusal() == ErrorCode.NOT_ALLOWED_YET
            assert good.endpoint.refused == Counter({"not allowed yet": 3})
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


def test_own_address_is_not_a_peer(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            with pytest.raises(DialFailed, match="SELF_DIALLED"):
                await one.endpoint.dial(one.address)
            assert not one.recorder.up

    run(main())


# --- dialling nobody -------------------------------------------------------------------------


def test_dial_to_nobody_fails_in_time(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1", link=QUICK) as one:
                start = asyncio.get_running_loop().time()
                with pytest.raises(DialFailed, match="no answer in time"):
                    await one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                assert asyncio.get_running_loop().time() - start < 5

    run(main())


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:0", "no-such-host.invalid:4701"])
def test_dial_to_what_is_no_address_fails(realm: RealmFolder, address: str) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            with pytest.raises(DialFailed, match=address.split(":")[0]):
                await one.endpoint.dial(address)

    run(main())


def test_dial_in_progress_ends_with_the_endpoint(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1") as one:
                dial = asyncio.create_task(
                    one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                )
                await eventually(lambda: select.select([silent], [], [], 0)[0])
            with pytest.raises(DialFailed):
                await dial

    run(main())


def test_cancelled_dial_leaves_no_link(realm: RealmFolder) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            async with open_node(realm, "n1") as one:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await one.endpoint.dial(f"127.0.0.1:{silent.getsockname()[1]}")
                assert one.endpoint.links == ()

    run(main())


# --- traffic ---------------------------------------------------------------------------------


def test_largest_message_passes_and_one_byte_more_is_our_error(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            empty = len(encode_message(event(bytes(70_000)))) - 70_000 - 8
            largest = event(os.urandom(MAX_PAYLOAD_SIZE - empty))
            assert len(encode_message(largest)) == MAX_PAYLOAD_SIZE + 8
            assert link.send(largest, MESSAGES)
            await two.recorder.until(lambda: two.recorder.heard)
            assert two.recorder.heard == [largest]
            await eventually(lambda: link.queued_bytes == 0)
            with pytest.raises(FrameError):
                link.send(event(bytes(MAX_PAYLOAD_SIZE - empty + 1)), MESSAGES)

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
            for kind in (Ping, Pong, Event):
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
            while link.send(event(bytes(1000), sent), MESSAGES):
                sent += 1
                assert link.queued_bytes <= 100_000
            assert 90 < sent < 100
            await two.recorder.until(lambda: len(two.recorder.heard) == sent)
            await eventually(lambda: link.queued_bytes == 0)
            assert link.send(event(bytes(1000)), MESSAGES)

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


# --- links go down ---------------------------------------------------------------------------


def test_reason_of_a_close_reaches_the_peer(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            await two.recorder.until(lambda: two.recorder.up)
            link.close(ErrorCode.DUPLICATE_LINK, "one is enough: " + "ü" * 1000)
            link.close(ErrorCode.INTERNAL, "said once only")
            assert not link.send(Ping(1), CONTROL)
            for recorder in (one.recorder, two.recorder):
                await recorder.until(lambda recorder=recorder: recorder.down)
                ((_, reason),) = recorder.down
                assert reason.startswith("DUPLICATE_LINK: one is enough")
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
        settings = LinkSettings(idle_timeout_s=1.0)
        async with open_node(realm, "n1", link=settings) as good:
            async with raw_peer(realm.credentials("n2"), good.endpoint.address) as peer:
                await peer.greet()
            await good.recorder.until(lambda: good.recorder.down)
            ((_, reason),) = good.recorder.down
            assert reason == "Idle timeout"

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
                async with asyncio.timeout(2.5):
                    await one.recorder.until(lambda: one.recorder.down)
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: two.recorder.heard)

    run(main())


# --- the port --------------------------------------------------------------------------------


def test_port_in_use_is_one_clear_line(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one:
            taken = one.endpoint.address.port
            settings = realm.node_settings("n2", listen=ListenSettings(port=taken))
            with pytest.raises(UsageError) as refused:
                await Endpoint.open(settings, realm.credentials("n2"), Recorder(), SystemClock())
            assert refused.value.what == f"port {taken} on 127.0.0.1 is in use"
            assert refused.value.hint == "stop the other program or choose another port"

    run(main())


@pytest.mark.parametrize("address", ["192.0.2.1", "no-such-host.invalid"])
def test_address_that_is_not_ours_is_one_clear_line(realm: RealmFolder, address: str) -> None:
    async def main() -> None:
        settings = realm.node_settings("n1", listen=ListenSettings(address=address, port=4701))
        with pytest.raises(UsageError, match=address):
            await Endpoint.open(
                settings, realm.credentials("n1"), Recorder(), SystemClock(), port=0
            )

    run(main())


def test_first_datagram_that_comes_twice_opens_one_connection(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=1)
        settings = realm.node_settings("n1", limits=limits, link=QUICK)
        async with node(settings, realm.credentials("n1")) as one:
            offer = QuicConfiguration(is_client=True, alpn_protocols=[ALPN])
            quic = QuicConnection(configuration=offer)
            quic.connect(("127.0.0.1", one.endpoint.address.port), now=0.0)
            ((first, target), *_) = quic.datagrams_to_send(now=0.0)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(3):
                    sender.sendto(first, target)
            await eventually(lambda: one.endpoint.refused)
            assert set(one.endpoint.refused) == {"handshake timeout"}

    run(main())


def test_noise_on_the_port_does_no_harm(realm: RealmFolder) -> None:
    async def main() -> None:
        noise = random.Random(7)  # noqa: S311  # a seed replays the noise
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            link = await one.endpoint.dial(two.address)
            target = ("127.0.0.1", two.endpoint.address.port)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                for _ in range(300):
                    first = noise.choice([b"", b"\xc0\0\0\0\1\x08", b"\xc0", b"\x40"])
                    rest = noise.randbytes(noise.choice([0, 1, 20, 1300]))
                    sender.sendto(first + rest, target)
            assert link.send(Ping(1), CONTROL)
            await two.recorder.until(lambda: two.recorder.heard == [Ping(1)])

    run(main())


def test_datagram_that_cannot_be_sent_is_counted_not_raised(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1", link=QUICK) as one:
            with pytest.raises(DialFailed, match="no answer in time"):
                # A socket bound to the loopback address has no way to the world.
                await one.endpoint.dial("192.0.2.1:4701")
            assert set(one.endpoint.send_errors) <= set(errno.errorcode.values())
            assert one.endpoint.send_errors

    run(main())


def test_links_are_limited_on_both_ends(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(links=1)
        async with (
            open_node(realm, "n1", limits=limits) as full,
            open_node(realm, "n2") as two,
            open_node(realm, "n3", link=QUICK) as three,
        ):
            await full.endpoint.dial(two.address)
            with pytest.raises(DialFailed, match="its limit"):
                await full.endpoint.dial(three.address)
            with pytest.raises(DialFailed, match="no answer in time"):
                await three.endpoint.dial(full.address)
            assert full.endpoint.refused["too many links"] >= 1

    run(main())


def test_pending_handshakes_are_limited_and_dials_go_on(realm: RealmFolder) -> None:
    async def main() -> None:
        limits = LimitSettings(pending_handshakes=1)
        async with (
            open_node(realm, "n1", limits=limits) as one,
            open_node(realm, "n3", link=QUICK) as three,
            raw_peer(realm.credentials("n2"), one.endpoint.address),
        ):
            with pytest.raises(DialFailed, match="no answer in time"):
                await three.endpoint.dial(one.address)
            assert one.endpoint.refused["too many handshakes"] >= 1
            await one.endpoint.dial(three.address)

    run(main())
