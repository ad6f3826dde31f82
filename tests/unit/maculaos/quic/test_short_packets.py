"""Laws of packets that are read and written beside the library: nothing changes but the time."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.recovery import MAX_ACK_RANGES
from aioquic.tls import Epoch
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials import RealmFolder, make_realm
from maculaos.quic.short_frames import ACK, read_stream, read_varint, stream_header, varint
from quic_pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

    from quic_pair import End

CLIENT_STREAM, SERVER_STREAM = 2, 3


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    """A realm with two nodes."""
    return make_realm(tmp_path_factory.mktemp("short"))


def connected(realm: RealmFolder, seed: int = 1) -> Pair:
    """Two ends that have nothing left to say of the handshake."""
    pair = Pair(realm.credentials("n1"), realm.credentials("n2"), seed=seed)
    pair.connect()
    pair.run_for(1.0)
    return pair


def exchange(pair: Pair, rng: random.Random, pieces: int, limit_s: float = 60.0) -> None:
    """Both say something of random length, over and over, and all of it arrives."""
    said = {CLIENT_STREAM: bytearray(), SERVER_STREAM: bytearray()}
    for _ in range(pieces):
        for end, stream in ((pair.client, CLIENT_STREAM), (pair.server, SERVER_STREAM)):
            piece = rng.randbytes(rng.choice((1, 100, 5000, 70_000)))
            end.quic.send_stream_data(stream, piece)
            said[stream] += piece
        pair.run_for(rng.choice((0.0, 0.001, 0.02)))
    pair.run(lambda: _heard(pair) == tuple(map(len, said.values())), limit_s)
    assert pair.server.streams[CLIENT_STREAM] == said[CLIENT_STREAM]
    assert pair.client.streams[SERVER_STREAM] == said[SERVER_STREAM]


def _heard(pair: Pair) -> tuple[int, int]:
    return (
        len(pair.server.streams.get(CLIENT_STREAM, b"")),
        len(pair.client.streams.get(SERVER_STREAM, b"")),
    )


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("carries", [1200, 9000, 65_000])
def test_both_ends_hear_what_was_said(realm: RealmFolder, loss: float, carries: int) -> None:
    pair = connected(realm, seed=carries)
    pair.carries, pair.loss = carries, loss
    exchange(pair, random.Random(carries), 40, limit_s=600.0)


def _stay(pair: Pair) -> None:
    """Nothing happens."""


def _move_client(pair: Pair) -> None:
    pair.client.address = ("10.0.9.9", 1000)
    pair.client.quic.move(pair.now)


def _move_server(pair: Pair) -> None:
    pair.server.address = ("10.0.9.9", 2000)
    pair.server.quic.move(pair.now)


def _stray(speaker: End, listener: End, pair: Pair) -> None:
    """One packet comes by another way: a repeater, or an address translation that changed."""
    speaker.quic.send_ping(0)
    for datagram, _ in speaker.quic.datagrams_to_send(now=pair.now):
        listener.quic.receive_datagram(datagram, ("10.6.6.6", 6), now=pair.now)


def _stray_client(pair: Pair) -> None:
    _stray(pair.client, pair.server, pair)


def _stray_server(pair: Pair) -> None:
    _stray(pair.server, pair.client, pair)


@pytest.mark.parametrize(
    "before", [_stay, _move_client, _move_server, _stray_client, _stray_server]
)
def test_the_library_is_not_asked_for_data_and_acknowledgements(
    realm: RealmFolder, monkeypatch: pytest.MonkeyPatch, before: Callable[[Pair], None]
) -> None:
    pair = connected(realm)
    exchange(pair, random.Random(2), 3)
    pair.run_for(5.0)
    before(pair)
    pair.run_for(5.0)
    asked = []

    def count(name: str) -> None:
        library = getattr(QuicConnection, name)

        def counted(*arguments: object, **named: object) -> object:
            asked.append(name)
            return library(*arguments, **named)

        monkeypatch.setattr(QuicConnection, name, counted)

    count("datagrams_to_send")
    count("receive_datagram")
    for _ in range(200):
        pair.client.quic.send_stream_data(CLIENT_STREAM, os.urandom(100))
        pair.server.quic.send_stream_data(SERVER_STREAM, os.urandom(100))
        pair.run_for(0.002)
    pair.run_for(0.1)
    assert len(asked) < 10


def test_what_was_lost_on_another_path_is_said_again_at_once(realm: RealmFolder) -> None:
    pair = connected(realm)
    exchange(pair, random.Random(5), 1)
    pair.run_for(1.0)
    quic = pair.server.quic
    limit = quic._local_max_data
    limit.value += 1
    quic.look_again()
    lost = quic._packet_number
    assert quic.datagrams_to_send(now=pair.now)
    assert limit.sent == limit.value
    quic._start_path(pair.now)
    for _ in range(4):
        quic.send_stream_data(SERVER_STREAM, b"x")
        assert quic.datagrams_to_send(now=pair.now)
    last = quic._packet_number - 1
    pair.now += 0.01
    quic._take_acknowledgement(b"".join(map(varint, (ACK, last, 0, 0, last - lost - 1))), pair.now)
    assert limit.sent == 0
    quic.send_stream_data(SERVER_STREAM, b"x")
    assert quic.datagrams_to_send(now=pair.now)
    assert limit.sent == limit.value


def test_no_more_ranges_are_acknowledged_than_by_the_library(realm: RealmFolder) -> None:
    pair = connected(realm)
    for number in range(4 * MAX_ACK_RANGES):
        pair.now += 0.005
        pair.client.quic.send_stream_data(CLIENT_STREAM, b"x")
        ((datagram, _),) = pair.client.quic.datagrams_to_send(now=pair.now)
        if number % 2:
            pair.server.quic.receive_datagram(datagram, pair.client.address, now=pair.now)
    assert len(pair.server.quic._spaces[Epoch.ONE_RTT].ack_queue) <= MAX_ACK_RANGES


def test_keys_change_under_way(realm: RealmFolder) -> None:
    pair = connected(realm)
    rng = random.Random(3)
    exchange(pair, rng, 5)
    pair.client.streams.clear()
    pair.server.streams.clear()
    pair.client.quic.request_key_update()
    exchange(pair, rng, 5)


def test_changed_and_repeated_datagrams_are_dropped(realm: RealmFolder) -> None:
    pair = connected(realm)
    pair.client.quic.send_stream_data(CLIENT_STREAM, b"once")
    ((datagram, _),) = pair.client.quic.datagrams_to_send(now=pair.now)
    changed = bytes((*datagram[:-1], datagram[-1] ^ 1))
    server = pair.server
    for each in (changed, datagram[:25], datagram, datagram):
        server.quic.receive_datagram(each, pair.client.address, now=pair.now)
    server.drain()
    assert server.streams == {CLIENT_STREAM: bytearray(b"once")}
    exchange_after = b"still here"
    pair.client.quic.send_stream_data(CLIENT_STREAM, exchange_after)
    pair.run(lambda: server.streams[CLIENT_STREAM] == b"once" + exchange_after)


def test_data_beyond_the_limit_ends_the_connection(realm: RealmFolder) -> None:
    pair = connected(realm)
    exchange(pair, random.Random(4), 1)
    stream = pair.client.quic._streams[CLIENT_STREAM]
    stream.max_stream_data_remote = 1 << 40
    pair.client.quic._remote_max_data = 1 << 40
    stream.sender._buffer_start += 1 << 30
    stream.sender._buffer_stop += 1 << 30
    pair.client.quic.send_stream_data(CLIENT_STREAM, b"far too far")
    pair.run(lambda: pair.server.quic.ending is not None)
    ending = pair.server.quic.ending
    assert ending is not None
    assert ending.error_code == 0x03  # FLOW_CONTROL_ERROR (RFC 9000, 20.1)


@given(st.integers(0, (1 << 62) - 1))
def test_numbers_are_written_as_the_library_reads_them(number: int) -> None:
    written = varint(number)
    assert Buffer(data=written).pull_uint_var() == number
    assert read_varint(written, 0) == (number, len(written))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1 << 40), st.binary(min_size=1, max_size=300))
def test_a_stream_frame_is_read_as_written_and_not_at_all_when_cut(
    stream_id: int, offset: int, data: bytes
) -> None:
    frame = QuicStreamFrame(data, False, offset)
    written = stream_header(stream_id, frame) + data
    assert read_stream(written, 0) == (stream_id, frame, len(written))
    for end in range(1, len(written)):
        assert read_stream(written[:end], 0) is None
