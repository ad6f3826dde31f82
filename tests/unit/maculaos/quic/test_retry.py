"""A token counts for one address, one connection id and a short time, and nobody can make one."""

from __future__ import annotations

import pytest
from aioquic._buffer import Buffer
from aioquic.quic.packet import (
    QuicPacketType,
    QuicProtocolVersion,
    get_retry_integrity_tag,
    pull_quic_header,
)
from hypothesis import given
from hypothesis import strategies as st

from maculaos.host.entropy import SeededEntropy
from maculaos.quic.retry import KEY_LIFE_S, TOKEN_LIFE_S, AddressTokens, retry_packet
from maculaos.quic.routes import Header, read_header

HERE = ("192.0.2.1", 4701)
ORIGINAL, RETURN_TO = b"original", b"comeback"


def tokens() -> AddressTokens:
    return AddressTokens(SeededEntropy(1).draw, 0.0)


def test_a_token_tells_which_connection_was_asked_for() -> None:
    made = tokens()
    token = made.issue(HERE, ORIGINAL, RETURN_TO, 1.0)
    assert made.read(token, HERE, RETURN_TO, 1.0 + TOKEN_LIFE_S) == ORIGINAL


@pytest.mark.parametrize(
    ("address", "return_to", "now"),
    [
        (("192.0.2.2", 4701), RETURN_TO, 1.0),
        (("192.0.2.1", 4702), RETURN_TO, 1.0),
        (HERE, b"elsewhere", 1.0),
        (HERE, RETURN_TO, 1.1 + TOKEN_LIFE_S),
    ],
    ids=["other address", "other port", "other connection id", "too late"],
)
def test_a_token_counts_nowhere_else(
    address: tuple[str, int], return_to: bytes, now: float
) -> None:
    made = tokens()
    token = made.issue(HERE, ORIGINAL, RETURN_TO, 1.0)
    assert made.read(token, address, return_to, now) is None


@given(st.integers(0, 31), st.integers(1, 255))
def test_no_byte_of_a_token_may_change(position: int, change: int) -> None:
    made = tokens()
    token = bytearray(made.issue(HERE, ORIGINAL, RETURN_TO, 1.0))
    token[position] ^= change
    assert made.read(bytes(token), HERE, RETURN_TO, 1.0) is None


@given(st.binary(max_size=64))
def test_nobody_else_can_make_a_token(token: bytes) -> None:
    assert tokens().read(token, HERE, RETURN_TO, 1.0) is None


def test_a_token_of_another_node_is_no_good() -> None:
    token = AddressTokens(SeededEntropy(2).draw, 0.0).issue(HERE, ORIGINAL, RETURN_TO, 1.0)
    assert tokens().read(token, HERE, RETURN_TO, 1.0) is None


def test_a_token_outlives_one_change_of_the_key_and_not_two() -> None:
    made = tokens()
    token = made.issue(HERE, ORIGINAL, RETURN_TO, KEY_LIFE_S - 1)
    first, late = made._key, KEY_LIFE_S + 1
    assert made.read(token, HERE, RETURN_TO, late) == ORIGINAL
    made.issue(HERE, ORIGINAL, RETURN_TO, late + KEY_LIFE_S)
    assert first not in (made._key, made._previous)


def test_after_a_long_silence_no_old_key_is_left() -> None:
    made = tokens()
    first = made._key
    made.issue(HERE, ORIGINAL, RETURN_TO, 10 * KEY_LIFE_S)
    assert first not in (made._key, made._previous)


def test_mapped_and_scoped_addresses_have_tokens_too() -> None:
    made = tokens()
    for address in (("::ffff:192.0.2.1", 1, 0, 0), ("fe80::1%lo", 1, 0, 1)):
        token = made.issue(address, ORIGINAL, RETURN_TO, 1.0)
        assert made.read(token, address, RETURN_TO, 1.0) == ORIGINAL


def test_a_retry_is_what_the_standard_says() -> None:
    version = int(QuicProtocolVersion.VERSION_1)
    packet = retry_packet(Header(ORIGINAL, b"client", version), RETURN_TO, b"token")
    header = pull_quic_header(Buffer(data=packet), host_cid_length=8)
    assert header.packet_type is QuicPacketType.RETRY
    assert (header.destination_cid, header.source_cid) == (b"client", RETURN_TO)
    assert header.token == b"token"
    assert header.integrity_tag == get_retry_integrity_tag(packet[:-16], ORIGINAL, version)


def initial(token_field: bytes) -> bytes:
    """The start of an Initial packet of version 1 whose token length and token are these bytes."""
    return b"\xc0\x00\x00\x00\x01\x08original\x06client" + token_field


@pytest.mark.parametrize(
    ("field", "token"),
    [
        (b"\x00rest", b""),
        (b"\x05token", b"token"),
        (b"\x40\x05tokenrest", b"token"),
        (b"\x80\x00\x00\x05tokenrest", b"token"),
        (b"\xc0\x00\x00\x00\x00\x00\x00\x05token", b"token"),
    ],
)
def test_the_token_of_an_initial_is_read(field: bytes, token: bytes) -> None:
    header = read_header(initial(field))
    assert header is not None
    assert (header.is_initial, header.token) == (True, token)


@pytest.mark.parametrize("field", [b"", b"\x06token", b"\x40", b"\xff", b"\xff" * 8])
def test_a_cut_token_is_no_packet(field: bytes) -> None:
    assert read_header(initial(field)) is None
