"""Laws of what a peer may have under way: bounded, and never in the way of who keeps the rules."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credentials import RealmFolder, make_realm
from maculaos.quic import mutual_tls, windows
from maculaos.quic.windows import MAX_WINDOW, is_due
from quic_pair import Pair

KIBIBYTE = 1024
STREAM = 2
SMALL_WINDOW = 128 * KIBIBYTE


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> RealmFolder:
    """A realm with two nodes."""
    return make_realm(tmp_path_factory.mktemp("windows"))


@pytest.fixture
def pair(realm: RealmFolder, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Two connected ends whose windows are small."""
    monkeypatch.setattr(mutual_tls, "MAX_DATA", 64 * KIBIBYTE)
    monkeypatch.setattr(mutual_tls, "MAX_STREAM_DATA", 32 * KIBIBYTE)
    monkeypatch.setattr(windows, "MAX_WINDOW", SMALL_WINDOW)
    monkeypatch.setattr(windows, "_HALF", SMALL_WINDOW // 2)
    made = Pair(realm.credentials("n1"), realm.credentials("n2"))
    made.connect()
    return made


def room(pair: Pair) -> tuple[int, int]:
    """What the server lets come on that stream, and on all."""
    quic = pair.server.quic
    stream, limit = quic._streams[STREAM], quic._local_max_data
    in_stream = stream.max_stream_data_local - stream.receiver.starting_offset()
    return in_stream, limit.value - limit.used


@given(st.lists(st.integers(1, MAX_WINDOW // 4), max_size=60), st.integers(1, 23))
def test_window_is_neither_too_large_nor_in_the_way(pieces: list[int], bits: int) -> None:
    limit, taken = 1 << bits, 0
    for piece in pieces:
        taken += min(piece, limit - taken)
        renewed = windows._renewed(limit, taken)
        assert renewed >= limit
        assert (renewed > limit) == is_due(limit, taken)
        limit = renewed
        # As much as came, as slow start doubles, until half of the window is the measure.
        assert min(taken, MAX_WINDOW // 2) <= limit - taken <= max(MAX_WINDOW, 1 << bits)


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_window_stays_bounded_however_much_came(pair: Pair, loss: float) -> None:
    pair.loss = loss
    data = os.urandom(2048 * KIBIBYTE)
    pair.client.quic.send_stream_data(STREAM, data)
    pair.run(lambda: len(pair.server.streams.get(STREAM, b"")) == len(data))
    assert pair.server.streams[STREAM] == data
    pair.run_for(1.0)
    assert all(SMALL_WINDOW // 2 <= each <= SMALL_WINDOW for each in room(pair))


def test_peer_that_leaves_out_a_byte_has_no_more_than_a_window_held(pair: Pair) -> None:
    pair.client.quic.send_stream_data(STREAM, os.urandom(512 * KIBIBYTE))
    pair.run(lambda: len(pair.server.streams.get(STREAM, b"")) == 512 * KIBIBYTE)
    pair.run_for(1.0)
    sender = pair.client.quic._streams[STREAM].sender
    sender._buffer_start += 1
    sender._buffer_stop += 1
    pair.client.quic.send_stream_data(STREAM, os.urandom(2048 * KIBIBYTE))
    pair.run_for(5.0)
    held = len(pair.server.quic._streams[STREAM].receiver._buffer)
    assert SMALL_WINDOW // 4 < held <= SMALL_WINDOW
    assert pair.server.quic.ending is None
