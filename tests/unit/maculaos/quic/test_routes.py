"""Laws of telling datagrams apart, checked against packets that aioquic makes."""

from __future__ import annotations

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicPacketType, pull_quic_header
from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.mutual_tls import CONNECTION_ID_SIZE
from maculaos.quic.routes import (
    SMALLEST_FIRST_DATAGRAM,
    Header,
    Routes,
    negotiation_for,
    opens_connection,
    read_header,
)


def first_datagram(version: int) -> bytes:
    quic = QuicConnection(
        configuration=QuicConfiguration(is_client=True, supported_versions=[version])
    )
    quic.connect(("127.0.0.1", 1), now=0.0)
    return quic.datagrams_to_send(now=0.0)[0][0]


def read(datagram: bytes) -> Header:
    header = read_header(datagram)
    assert header is not None
    return header


@pytest.mark.parametrize("version", [1, 0x6B3343CF])
def test_first_datagram_of_a_client_opens_a_connection(version: int) -> None:
    datagram = first_datagram(version)
    header = read(datagram)
    theirs = pull_quic_header(Buffer(data=datagram), host_cid_length=CONNECTION_ID_SIZE)
    assert (header.destination, header.source) == (theirs.destination_cid, theirs.source_cid)
    assert header.version == version
    assert opens_connection(header, len(datagram))


def test_small_first_datagram_opens_nothing() -> None:
    header = read(first_datagram(1))
    assert not opens_connection(header, SMALLEST_FIRST_DATAGRAM - 1)


def test_short_client_chosen_id_opens_nothing() -> None:
    header = Header(b"short", b"", 1, is_initial=True)
    assert not opens_connection(header, SMALLEST_FIRST_DATAGRAM)


def test_short_header_is_told_apart_by_its_first_bytes() -> None:
    assert read(b"\x40abcdefghPAYLOAD") == Header(b"abcdefgh")
    assert read_header(b"\x40abc") is None


def test_unknown_version_earns_negotiation_with_ids_swapped() -> None:
    datagram = b"\xc0\x0a\x0a\x0a\x0a\x08ABCDEFGH\x04wxyz".ljust(SMALLEST_FIRST_DATAGRAM, b"\0")
    header = read(datagram)
    assert not opens_connection(header, len(datagram))
    answer = negotiation_for(header, len(datagram))
    assert answer is not None
    theirs = pull_quic_header(Buffer(data=answer))
    assert theirs.packet_type is QuicPacketType.VERSION_NEGOTIATION
    assert (theirs.destination_cid, theirs.source_cid) == (b"wxyz", b"ABCDEFGH")
    assert 1 in theirs.supported_versions


def test_negotiation_earns_no_negotiation() -> None:
    answer = negotiation_for(Header(b"A" * 8, b"B" * 8, 0x0A0A0A0A), SMALLEST_FIRST_DATAGRAM)
    assert answer is not None
    padded = answer.ljust(SMALLEST_FIRST_DATAGRAM, b"\0")
    assert negotiation_for(read(padded), len(padded)) is None


def test_small_datagram_of_unknown_version_earns_no_answer() -> None:
    header = Header(b"A" * 8, b"B" * 8, 0x0A0A0A0A)
    assert negotiation_for(header, SMALLEST_FIRST_DATAGRAM - 1) is None


@given(st.binary(max_size=80))
def test_random_datagrams_are_read_or_dropped(datagram: bytes) -> None:
    header = read_header(datagram)
    if header is not None:
        negotiation_for(header, SMALLEST_FIRST_DATAGRAM)
        assert header.destination in datagram


def test_routes_follow_issued_and_retired_ids() -> None:
    routes: Routes[str] = Routes()
    for connection_id in (b"1", b"2"):
        routes.add(connection_id, "a")
    routes.add(b"3", "b")
    routes.retire(b"1")
    routes.retire(b"never issued")
    assert [routes.find(name) for name in (b"1", b"2", b"3")] == [None, "a", "b"]
    routes.forget("a")
    routes.forget("a")
    assert [routes.find(name) for name in (b"2", b"3")] == [None, "b"]
    assert len(routes) == 1
