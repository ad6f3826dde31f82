"""Laws of a connection on its path, in virtual time: size, order, datagrams, other addresses."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from credentials import RealmFolder, make_realm
from maculaos.quic.datagrams import MAX_DATAGRAM_PAYLOAD, MAX_WAITING_DATAGRAMS
from maculaos.quic.path_size import BASE_SIZE, RUNGS
from quic_pair import Pair

if TYPE_CHECKING:
    from quic_pair import End

MEBIBYTE = 1024 * 1024
CLIENT_STREAM, SERVER_STREAM = 2, 3


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    """A realm with two nodes."""
    return make_realm(tmp_path_factory.mktemp("paths"))


@pytest.fixture
def pair(realm: RealmFolder) -> Pair:
    """Two connected ends."""
    made = Pair(realm.credentials("n1"), realm.credentials("n2"))
    made.connect()
    return made


def transfer(pair: Pair, sender: End, receiver: End, data: bytes) -> None:
    """Carry ``data`` over, whole."""
    stream = CLIENT_STREAM if sender is pair.client else SERVER_STREAM
    before = len(receiver.streams.get(stream, b""))
    sender.quic.send_stream_data(stream, data)
    pair.run(lambda: len(receiver.streams.get(stream, b"")) >= before + len(data))
    assert receiver.streams[stream][before:] == data


@pytest.mark.parametrize("carries", [1200, 1300, 1452, 5000, 9000, 65_000])
def test_size_rises_to_what_the_path_carries(pair: Pair, carries: int) -> None:
    pair.carries = carries
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.run_for(5.0)
    assert pair.client.quic.path_size.size == max(rung for rung in RUNGS if rung <= carries)
    assert pair.client.quic.path_size.black_holes == 0


def test_quiet_connection_sends_no_probe(pair: Pair) -> None:
    pair.run_for(20.0)
    assert max(size for _, _, size in pair.seen) <= BASE_SIZE


def test_lost_probes_are_no_congestion(realm: RealmFolder) -> None:
    windows = []
    for carries in (65_000, 1200):
        pair = Pair(realm.credentials("n1"), realm.credentials("n2"))
        pair.connect()
        pair.carries = carries
        transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
        pair.run_for(5.0)
        windows.append(pair.client.quic._loss.congestion_window)
    # Nothing was lost but probes, which halved no window.
    assert windows[1] > MEBIBYTE // 2


def test_black_hole_is_noticed_and_nothing_is_lost(pair: Pair) -> None:
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.run_for(5.0)
    assert pair.client.quic.path_size.size == RUNGS[-1]
    pair.carries = 5000
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.run_for(5.0)
    assert pair.client.quic.path_size.black_holes == 1
    assert pair.client.quic.path_size.size == 4096


def test_black_hole_is_noticed_while_small_packets_arrive(pair: Pair) -> None:
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.carries = 5000
    data = os.urandom(MEBIBYTE)
    pair.client.quic.send_stream_data(CLIENT_STREAM, data)
    for number in range(200):
        pair.client.quic.send_datagram_frame(number.to_bytes(2))
        pair.run_for(0.01)
    # Those that shared a packet with too much else are lost.
    assert len(pair.server.datagrams) > 180
    assert pair.server.streams[CLIENT_STREAM][MEBIBYTE:] == data
    assert pair.client.quic.path_size.black_holes >= 1


def test_peer_that_stands_still_is_no_black_hole(pair: Pair) -> None:
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    for _ in range(10):
        transfer(pair, pair.client, pair.server, os.urandom(200_000))
    for _ in range(4):
        pair.client.quic.send_stream_data(CLIENT_STREAM, bytes(2 * MEBIBYTE))
        pair.run_for(0.006)
        # Nothing is lost, all is late.
        pair.latency_s = 0.3
        pair.run_for(0.3)
        pair.latency_s = 0.005
        pair.run(lambda: pair.client.quic.unacknowledged(CLIENT_STREAM) == 0)
    assert pair.client.quic.path_size.black_holes == 0
    assert pair.client.quic.path_size.size == RUNGS[-1]


@pytest.mark.parametrize("seed", range(3))
def test_ordinary_loss_is_no_black_hole(realm: RealmFolder, seed: int) -> None:
    pair = Pair(realm.credentials("n1"), realm.credentials("n2"), seed=seed)
    pair.connect()
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.loss = 0.02
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    assert pair.client.quic.path_size.black_holes == 0


def test_streams_are_served_by_rank_when_the_network_is_full(pair: Pair) -> None:
    quic, ids = pair.client.quic, (2, 6, 10)
    for stream_id, rank in zip(ids, (2, 0, 1), strict=True):
        quic.send_stream_data(stream_id, b"first")
        quic.rank_stream(stream_id, rank)
    pair.run(lambda: len(pair.server.streams) == 3)
    pair.server.order.clear()
    for stream_id in ids:
        quic.send_stream_data(stream_id, bytes(200_000))
    pair.run(lambda: all(len(data) == 200_005 for data in pair.server.streams.values()))
    last = {stream_id: _last(pair.server.order, stream_id) for stream_id in ids}
    first = {stream_id: pair.server.order.index(stream_id) for stream_id in ids}
    assert last[6] <= first[10] + 1
    assert last[10] <= first[2] + 1


def _last(order: list[int], stream_id: int) -> int:
    return len(order) - 1 - order[::-1].index(stream_id)


def test_datagrams_overtake_streams(pair: Pair) -> None:
    pair.client.quic.rank_stream(CLIENT_STREAM, 0)
    pair.client.quic.send_stream_data(CLIENT_STREAM, bytes(4 * MEBIBYTE))
    pair.run_for(0.02)
    pair.client.quic.send_datagram_frame(b"now")
    pair.run(lambda: pair.server.datagrams)
    assert len(pair.server.streams[CLIENT_STREAM]) < 4 * MEBIBYTE


def test_too_many_datagrams_drop_the_oldest(pair: Pair) -> None:
    pair.carries = 0
    # Nothing is acknowledged, so the window fills and the rest waits.
    pair.client.quic.send_stream_data(CLIENT_STREAM, bytes(MEBIBYTE))
    pair.run_for(0.001)
    for number in range(MAX_WAITING_DATAGRAMS + 10):
        pair.client.quic.send_datagram_frame(number.to_bytes(2))
    assert pair.client.quic.datagrams_dropped == 10
    pair.carries = 65_000
    pair.run(lambda: len(pair.server.datagrams) == MAX_WAITING_DATAGRAMS)
    assert pair.server.datagrams[0] == (10).to_bytes(2)


def test_largest_datagram_fits_the_smallest_path(pair: Pair) -> None:
    pair.carries = BASE_SIZE
    assert pair.client.quic.datagram_room == MAX_DATAGRAM_PAYLOAD
    pair.client.quic.send_datagram_frame(bytes(MAX_DATAGRAM_PAYLOAD))
    pair.run(lambda: pair.server.datagrams)
    assert max(size for _, _, size in pair.seen) <= BASE_SIZE


@pytest.mark.parametrize("mover", ["client", "server"])
@pytest.mark.parametrize("is_gone", [False, True], ids=["old address stays", "old address gone"])
def test_either_end_moves_in_the_middle_of_a_transfer(
    pair: Pair, mover: str, *, is_gone: bool
) -> None:
    ways = ((pair.client, pair.server, CLIENT_STREAM), (pair.server, pair.client, SERVER_STREAM))
    data = os.urandom(MEBIBYTE)
    for sender, _, stream in ways:
        sender.quic.send_stream_data(stream, data)
    pair.run(lambda: len(pair.server.streams.get(CLIENT_STREAM, b"")) > 100_000)
    moving: End = getattr(pair, mover)
    staying = pair.server if moving is pair.client else pair.client
    if is_gone:
        pair.gone.add(moving.address)
    moving.address = ("10.0.9.9", 999)
    moving.quic.move(pair.now)
    pair.run(lambda: all(len(r.streams.get(s, b"")) == len(data) for _, r, s in ways), 30.0)
    assert pair.server.streams[CLIENT_STREAM] == pair.client.streams[SERVER_STREAM] == data
    assert staying.quic.get_peer_address() == moving.address
    pair.run_for(2.0)
    # What was under way on the old path counts for nothing on the new one.
    assert all(end.quic._loss.bytes_in_flight == 0 for end in (pair.client, pair.server))


def test_end_that_moves_there_and_back_is_followed(pair: Pair) -> None:
    home = pair.server.address
    for number in range(6):
        pair.server.address = home if number % 2 else ("10.0.9.9", 999)
        pair.server.quic.move(pair.now)
        transfer(pair, pair.client, pair.server, os.urandom(50_000))
        transfer(pair, pair.server, pair.client, os.urandom(50_000))
        assert pair.client.quic.get_peer_address() == pair.server.address


def test_no_strange_address_takes_the_connection_ids_of_a_move(pair: Pair) -> None:
    pair.run_for(1.0)
    for number in range(12):
        # A packet of the listener comes by another way, and nobody answers there.
        pair.server.quic.send_stream_data(SERVER_STREAM, b"x")
        for datagram, _ in pair.server.quic.datagrams_to_send(now=pair.now):
            pair.client.quic.receive_datagram(datagram, ("10.7.7.7", number), now=pair.now)
        pair.run_for(1.0)
        if number % 4 == 3:
            pair.gone.add(pair.server.address)
            pair.server.address = ("10.0.1.1", number)
            pair.server.quic.move(pair.now)
        transfer(pair, pair.server, pair.client, os.urandom(50_000))
        assert pair.client.quic.get_peer_address() == pair.server.address
        assert pair.client.quic._peer_cid_available


@pytest.mark.parametrize("mover", ["client", "server"])
def test_new_path_starts_at_the_smallest_size(pair: Pair, mover: str) -> None:
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    pair.carries = 1300
    moving: End = getattr(pair, mover)
    pair.gone.add(moving.address)
    moving.address = ("10.0.9.9", 999)
    moving.quic.move(pair.now)
    staying = pair.server if moving is pair.client else pair.client
    pair.run(lambda: staying.quic.get_peer_address() == moving.address)
    began = len(pair.seen)
    transfer(pair, pair.client, pair.server, os.urandom(MEBIBYTE))
    sizes = [size for _, _, size in pair.seen[began:]]
    assert pair.client.quic.path_size.black_holes == 0
    # Only probes were too large.
    assert sum(size > 1300 for size in sizes) < 40


def test_stranger_cannot_lead_a_client_away(pair: Pair) -> None:
    noise, home = random.Random(7), pair.server.address
    real = pair.client.quic.host_cid
    for number in range(200):
        header = bytes([0x40 | noise.randrange(64)]) + real
        pair.inject(header + noise.randbytes(60), ("10.6.6.6", number), pair.client)
    pair.run_for(1.0)
    assert pair.client.quic.get_peer_address() == home
    assert [path.addr for path in pair.client.quic._network_paths] == [home]
    assert all(end is not pair.client or size < 5000 for end, _, size in pair.seen)
    transfer(pair, pair.server, pair.client, os.urandom(50_000))
