"""The bytes of packets with a short header, and of the frames that most of them hold.

Pure functions of bytes and keys; which packets and frames are sent, and what follows from those
that come, is ``short_packets``. The keys are aioquic's (``CryptoContext``), by their private names.
"""

from __future__ import annotations

from typing import Any, Final

from aioquic.quic.packet import QuicStreamFrame, decode_packet_number
from cryptography.exceptions import InvalidTag

# RFC 9000, 17.3.1: the first byte, and numbers of the one length that is sent here.
LONG: Final = 0x80
SPIN: Final = 0x20
NUMBER_BYTES: Final = 2
TAG_BYTES: Final = 16
_FIXED: Final = 0x40
_RESERVED: Final = 0x18
_KEY_PHASE: Final = 0x04
# RFC 9001, 5.4.2: what protects the header is sampled so far behind the start of the number.
_SAMPLE_OFFSET: Final = 4
_SAMPLE_BYTES: Final = 16
SAMPLE_END: Final = _SAMPLE_OFFSET + _SAMPLE_BYTES
# RFC 9000, 19.3 and 19.8: ACK; the types of STREAM, and their bits.
ACK: Final = 0x02
_STREAM: Final = 0x08
_STREAM_END: Final = 0x10
_HAS_OFFSET, _HAS_LENGTH, _IS_LAST = 0x04, 0x02, 0x01
#: Type, id, offset and length of STREAM at their longest.
STREAM_HEADER: Final = 1 + 8 + 8 + 4


def is_stream(kind: int) -> bool:
    """Whether that first byte of a frame begins STREAM."""
    return _STREAM <= kind < _STREAM_END


def varint(number: int) -> bytes:
    """A variable-length integer (RFC 9000, 16)."""
    if number < 0x40:
        return bytes((number,))
    if number < 0x4000:
        return (number | 0x4000).to_bytes(2)
    if number < 0x4000_0000:
        return (number | 0x8000_0000).to_bytes(4)
    return (number | 0xC000_0000_0000_0000).to_bytes(8)


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at that position, and where it ends; raises ``IndexError`` at the end."""
    first = data[position]
    length = 1 << (first >> 6)
    end = position + length
    if end > len(data):
        raise IndexError(end)
    return int.from_bytes(data[position:end]) & ((1 << (8 * length - 2)) - 1), end


def read_acknowledgement(data: bytes) -> tuple[range, int, int] | None:
    """The one range that the ACK frame at the front tells of, its delay, and where it ends.

    Nothing if it tells of more ranges, or of what cannot be.
    """
    try:
        largest, position = read_varint(data, 1)
        delay, position = read_varint(data, position)
        others, position = read_varint(data, position)
        length, position = read_varint(data, position)
    except IndexError:
        return None
    if others or length > largest:
        return None
    return range(largest - length, largest + 1), delay, position


def stream_header(stream_id: int, frame: QuicStreamFrame) -> bytes:
    """What goes before the data of STREAM, its length included."""
    kind = _STREAM | _HAS_LENGTH | _HAS_OFFSET * bool(frame.offset) | _IS_LAST * frame.fin
    offset = varint(frame.offset) if frame.offset else b""
    return b"%c%b%b%b" % (kind, varint(stream_id), offset, varint(len(frame.data)))


def read_stream(data: bytes, position: int) -> tuple[int, QuicStreamFrame, int] | None:
    """The STREAM frame at that position: its stream, itself, where it ends; nothing if cut off."""
    kind, offset = data[position], 0
    try:
        stream_id, position = read_varint(data, position + 1)
        if kind & _HAS_OFFSET:
            offset, position = read_varint(data, position)
        length = len(data) - position
        if kind & _HAS_LENGTH:
            length, position = read_varint(data, position)
    except IndexError:
        return None
    end = position + length
    if end > len(data) or not length:
        return None
    content = data[position:end]
    return stream_id, QuicStreamFrame(content, bool(kind & _IS_LAST), offset), end


def protect(keys: Any, cid: bytes, number: int, payload: bytes, *, spin: bool) -> bytes:
    """The packet of that number to that connection id (RFC 9001, 5)."""
    first = _FIXED | spin * SPIN | keys.key_phase * _KEY_PHASE | (NUMBER_BYTES - 1)
    header = b"%c%b%b" % (first, cid, (number & 0xFFFF).to_bytes(NUMBER_BYTES))
    sealed = keys.aead.encrypt(payload, header, number)
    start = _SAMPLE_OFFSET - NUMBER_BYTES
    mask = keys.hp._mask(sealed[start : start + _SAMPLE_BYTES])
    hidden = bytearray(header)
    hidden[0] ^= mask[0] & 0x1F
    hidden[-2] ^= mask[1]
    hidden[-1] ^= mask[2]
    return b"".join((hidden, sealed))


def open_packet(keys: Any, data: bytes, start: int, expected: int) -> tuple[int, int, bytes] | None:
    """Number, first byte and payload of a packet whose number is at ``start``.

    Nothing if it cannot be read with these keys, or sets what must not be set.
    """
    sample = start + _SAMPLE_OFFSET
    mask = keys.hp._mask(data[sample : sample + _SAMPLE_BYTES])
    first = data[0] ^ (mask[0] & 0x1F)
    if first & _RESERVED or bool(first & _KEY_PHASE) != bool(keys.key_phase):
        return None
    length = (first & 0x03) + 1
    end = start + length
    written = int.from_bytes(data[start:end]) ^ int.from_bytes(mask[1 : 1 + length])
    number = decode_packet_number(written, length * 8, expected)
    header = b"%c%b%b" % (first, data[1:start], written.to_bytes(length))
    aead = keys.aead
    try:
        return number, first, aead._aead.decrypt(aead._nonce(number), data[end:], header)
    except InvalidTag:
        return None
