"""Nodes that met before link again without certificates; early words are heard once or never."""

from __future__ import annotations

import asyncio
import math
import socket
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from operator import contains
from typing import TYPE_CHECKING

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.packet import QuicPacketType, pull_quic_header

from loopback import MESSAGES, event, open_node, run
from maculaos.errors import LocalProtocolError
from maculaos.quic.admission import Bucket
from maculaos.quic.endpoint import DialFailed
from maculaos.quic.mutual_tls import CONNECTION_ID_SIZE
from maculaos.quic.routes import read_header
from maculaos.security.revocations import RevocationList
from maculaos.settings import LimitSettings, LinkSettings
from maculaos.wire.frames import Frame, encode_frame
from maculaos.wire.messages import Heartbeat, Ping, body_frame
from maculaos.wire.registry import ErrorCode, FrameFlag
from mesh_peers import eventually
from signed_anew import reissued

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credentials import RealmFolder
    from maculaos.quic.link import Link
    from maculaos.wire.messages import Message
    from maculaos.wire.registry import StreamClass
    from mesh_peers import Node


ZERO_RTT = QuicPacketType.ZERO_RTT


async def meet(one: Node, two: Node) -> None:
    """One full handshake, a ticket, and the end of the link."""
    link = await one.endpoint.dial(two.address)
    assert not link.is_resumed
    await eventually(lambda: len(one.endpoint._tickets or ()))
    await part(one, two, link)


async def part(one: Node, two: Node, link: Link) -> None:
    """End the link on both ends."""
    link.close(ErrorCode.NO_ERROR, "see you")
    await one.recorder.until(lambda: not one.endpoint.links)
    await two.recorder.until(lambda: not two.endpoint.links)


@contextmanager
def tap(node: Node, *, passing: float = math.inf) -> Iterator[list[bytes]]:
    """Everything that ``node`` sends meanwhile; only the first ``passing`` datagrams arrive."""
    sent: list[bytes] = []
    port = node.endpoint._port
    send = port.send

    def record(datagram: bytes, address: tuple[object, ...]) -> bool:
        sent.append(datagram)
        return len(sent) > passing or send(datagram, address)

    port.send = record  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        del port.send


def is_forgotten(node: Node, datagram: bytes) -> bool:
    """Whether ``node`` keeps nothing of the connection that ``datagram`` is for."""
    header = read_header(datagram)
    return header is not None and node.endpoint._routes.find(header.destination) is None


def kinds_of(datagram: bytes) -> list[QuicPacketType]:
    """The types of the packets that were put into one datagram."""
    buffer, kinds = Buffer(data=datagram), []
    # Without the fixed bit it is the padding behind the last packet.
    while not buffer.eof() and datagram[buffer.tell()] & 0x40:
        start = buffer.tell()
        header = pull_quic_header(buffer, host_cid_length=CONNECTION_ID_SIZE)
        kinds.append(header.packet_type)
        buffer.seek(start + header.packet_length)
    return kinds


def test_a_second_link_is_resumed_and_knows_who_the_peer_is(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            # A resumed link gives the next ticket.
            for _ in range(3):
                link = await one.endpoint.dial(two.address)
                await two.recorder.until(lambda: two.endpoint.links)
                (other,) = two.endpoint.links
                assert link.is_resumed
                assert other.is_resumed
                assert link.peer == realm.credentials("n2").identity
                assert other.peer == realm.credentials("n1").identity
                assert link.send(event(b"hello"), MESSAGES)
                await two.recorder.until(lambda: event(b"hello") in two.recorder.heard)
                two.recorder.heard.clear()
                await eventually(lambda: len(one.endpoint._tickets or ()))
                await part(one, two, link)

    run(main())


def test_early_words_are_in_the_first_datagram_and_heard_once(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            words = (Ping(7), Heartbeat((), wants_reply=True))
            with tap(one) as sent:
                await one.endpoint.dial(two.address, words)
                await two.recorder.until(lambda: len(two.recorder.heard) == 2)
            assert two.recorder.heard == list(words)
            # All that was said is in the first flight, none of it in a later one.
            first = read_header(sent[0])
            early = [datagram for datagram in sent if read_header(datagram) == first]
            assert any(ZERO_RTT in kinds_of(datagram) for datagram in early)
            assert not any(ZERO_RTT in kinds_of(datagram) for datagram in sent[len(early) :])

    run(main())


@pytest.mark.parametrize("has_ticket", [False, True])
def test_first_words_are_heard_with_and_without_a_ticket(
    realm: RealmFolder, has_ticket: bool
) -> None:
    async def main() -> None:
        limits = LimitSettings(tickets=8 if has_ticket else 0)
        async with open_node(realm, "n1", limits=limits) as one, open_node(realm, "n2") as two:
            for number in (1, 2):
                link = await one.endpoint.dial(two.address, (Ping(number),))
                await two.recorder.until(partial(contains, two.recorder.heard, Ping(number)))
                await eventually(lambda: len(one.endpoint._tickets or ()) == has_ticket)
                assert link.is_resumed == (has_ticket and number == 2)
                await part(one, two, link)
            assert two.recorder.heard == [Ping(1), Ping(2)]

    run(main())


def test_with_a_ticket_a_link_takes_one_round_trip(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            ups = len(two.recorder.up)
            with tap(one, passing=1):
                link = await one.endpoint.dial(two.address, (Ping(1),))
                assert link.is_established
                # The other end has not seen the end of the handshake, and acts on nothing.
                assert len(two.recorder.up) == ups
                assert two.recorder.heard == []
            await two.recorder.until(lambda: two.recorder.heard)
            assert two.recorder.heard == [Ping(1)]

    run(main())


def test_words_that_are_not_idempotent_must_wait(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            for word in (event(b"once"), Heartbeat(())):
                with pytest.raises(LocalProtocolError, match="must wait"):
                    await one.endpoint.dial(two.address, (word,))

    run(main())


def test_a_peer_that_says_early_what_must_wait_is_refused(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            remote = (two.endpoint.address.host, two.endpoint.address.port)
            link = one.endpoint._new_link(
                one.endpoint._connection(is_client=True), asyncio.get_running_loop().time() + 5
            )
            link.first_words = (event(b"twice"),)
            link.start(remote, asyncio.get_running_loop().time())
            await eventually(lambda: two.endpoint.refused["not allowed yet"])
            assert two.recorder.heard == []
            assert two.endpoint.links == ()

    run(main())


def test_early_words_have_no_flag(realm: RealmFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            remote = (two.endpoint.address.host, two.endpoint.address.port)
            now = asyncio.get_running_loop().time()
            link = one.endpoint._new_link(one.endpoint._connection(is_client=True), now + 5)
            plain = body_frame(Ping(1))
            packed = Frame(plain.kind, zlib.compress(plain.payload), FrameFlag.COMPRESSED)
            say = link._reply

            def reply(message: Message, stream: StreamClass) -> None:
                if message == Ping(1):
                    link._offer(stream, encode_frame(packed))
                else:
                    say(message, stream)

            monkeypatch.setattr(link, "_reply", reply)
            link.first_words = (Ping(1),)
            link.start(remote, now)
            await eventually(lambda: two.endpoint.refused["not allowed yet"])
            assert two.recorder.heard == []

    run(main())


def test_a_first_flight_that_is_sent_again_is_not_heard(realm: RealmFolder) -> None:
    async def main() -> None:
        link_settings = LinkSettings(handshake_timeout_s=1.0)
        async with (
            open_node(realm, "n1") as one,
            open_node(realm, "n2", link=link_settings) as two,
        ):
            await meet(one, two)
            with tap(one) as sent:
                link = await one.endpoint.dial(two.address, (Ping(1),))
                await two.recorder.until(lambda: Ping(1) in two.recorder.heard)
                await part(one, two, link)
            ups, heard = len(two.recorder.up), len(two.recorder.heard)
            remote = (two.endpoint.address.host, two.endpoint.address.port)
            # As long as the first connection is remembered it takes its datagrams, and drops them.
            first = read_header(sent[0])
            await eventually(partial(is_forgotten, two, sent[0]))
            flight = [datagram for datagram in sent if read_header(datagram) == first]
            with ExitStack() as stack:
                replay = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for datagram in flight:
                    replay.sendto(datagram, remote)
                await eventually(lambda: two.endpoint.pending)
                # The ticket is gone: it asks for a certificate, and the early words stay sealed.
                (attempt,) = two.endpoint._links.values()
                assert attempt._quic.presumed_peer is None
                await eventually(lambda: not two.endpoint.pending)
            assert (len(two.recorder.up), len(two.recorder.heard)) == (ups, heard)

    run(main())


def test_a_first_flight_that_comes_late_and_alone_brings_nobody_up(realm: RealmFolder) -> None:
    async def main() -> None:
        link_settings = LinkSettings(handshake_timeout_s=0.5)
        async with (
            open_node(realm, "n1", link=link_settings) as one,
            open_node(realm, "n2", link=link_settings) as two,
        ):
            await meet(one, two)
            ups = len(two.recorder.up)
            # Somebody on the path keeps the first flight to himself.
            with tap(one, passing=0) as sent, pytest.raises(DialFailed):
                await one.endpoint.dial(two.address, (Ping(1),))
            with ExitStack() as stack:
                thief = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                thief.sendto(sent[0], (two.endpoint.address.host, two.endpoint.address.port))
                await eventually(lambda: two.endpoint.pending)
                (attempt,) = two.endpoint._links.values()
                await eventually(lambda: attempt._quic.presumed_peer is not None)
                assert not attempt.is_established
                await eventually(lambda: not two.endpoint.pending)
                # And once more, when that is forgotten: now the ticket is gone, too.
                await eventually(partial(is_forgotten, two, sent[0]))
                thief.sendto(sent[0], (two.endpoint.address.host, two.endpoint.address.port))
                await eventually(lambda: two.endpoint.pending)
                (attempt,) = two.endpoint._links.values()
                assert attempt._quic.presumed_peer is None
                await eventually(lambda: not two.endpoint.pending)
            assert len(two.recorder.up) == ups
            assert two.recorder.heard == []
            assert two.endpoint.refused["handshake timeout"] == 2

    run(main())


def test_without_its_ticket_a_listener_asks_for_certificates(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            tickets = two.endpoint._tickets
            assert tickets is not None
            tickets._issued.clear()
            tickets._latest.clear()
            link = await one.endpoint.dial(two.address, (Ping(1),))
            assert not link.is_resumed
            # What was said early is said again, once.
            await two.recorder.until(lambda: two.recorder.heard)
            assert two.recorder.heard == [Ping(1)]

    run(main())


def test_another_node_at_that_address_is_told_nothing(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            async with open_node(realm, "n3") as three:
                tickets = one.endpoint._tickets
                assert tickets is not None
                (held,) = tickets._held.values()
                there = (three.endpoint.address.host, three.endpoint.address.port)
                tickets.hold(there, held)
                with pytest.raises(DialFailed, match="another node answers"):
                    await one.endpoint.dial(three.address, (Ping(1),))
                assert (await one.endpoint.dial(three.address)).peer.name == "n3"

    run(main())


def test_early_words_survive_a_retry(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            two.endpoint._admission._unproved = Bucket(0.0, 0.0, 0.0)
            link = await one.endpoint.dial(two.address, (Ping(1),))
            assert two.endpoint.retries == 1
            assert link.is_resumed
            await two.recorder.until(lambda: two.recorder.heard)
            assert two.recorder.heard == [Ping(1)]

    run(main())


@pytest.mark.parametrize("who", ["listener", "dialler"])
def test_no_ticket_outlives_a_revocation(realm: RealmFolder, who: str) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            judge, judged = (two, "n1") if who == "listener" else (one, "n2")
            serial = realm.credentials(judged).certificate.serial_number
            name = "n2" if who == "listener" else "n1"
            revoked = RevocationList(1, frozenset({serial}), math.inf)
            judge.endpoint.renew(replace(realm.credentials(name), revoked=revoked))
            with pytest.raises(DialFailed, match="revoked"):
                await one.endpoint.dial(two.address)
            assert judge.endpoint.refused["revoked"] == 1

    run(main())


@pytest.mark.parametrize("who", ["n1", "n2"])
def test_a_new_certificate_makes_old_tickets_worthless(realm: RealmFolder, who: str) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            renewed = reissued(realm, realm.credentials(who))
            (one if who == "n1" else two).endpoint.renew(renewed)
            link = await one.endpoint.dial(two.address)
            assert not link.is_resumed

    run(main())


def test_a_ticket_needs_its_secret(realm: RealmFolder) -> None:
    async def main() -> None:
        async with open_node(realm, "n1") as one, open_node(realm, "n2") as two:
            await meet(one, two)
            tickets = one.endpoint._tickets
            assert tickets is not None
            ((address, held),) = tickets._held.items()
            stolen = replace(
                held.ticket, resumption_secret=bytes(len(held.ticket.resumption_secret))
            )
            tickets.hold(address, replace(held, ticket=stolen))
            with pytest.raises(DialFailed):
                await one.endpoint.dial(two.address, (Ping(1),))
            assert two.recorder.heard == []

    run(main())
