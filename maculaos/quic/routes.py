"""Which connection a datagram is for, by its destination connection id alone (RFC 8999).

One socket serves every connection, accepted or dialled. All ids that this node hands out have one
fixed length, so that packets with a short header can be told apart too. Nothing is decrypted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from aioquic.quic.packet import QuicProtocolVersion, encode_quic_version_negotiation

from maculaos.quic.mutual_tls import CONNECTION_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Hashable

_LONG_HEADER: Final = 0x80
_MAX_ID_SIZE: Final = 20
_NEGOTIATION: Final = 0
# RFC 9000, 14.1: a smaller datagram cannot open a connection, and gets no answer.
SMALLEST_FIRST_DATAGRAM: Final = 1200
# The two bits of the packet type that mean Initial (RFC 9000, 17.2; RFC 9369, 3.2).
_INITIAL_TYPES: Final = {
    int(QuicProtocolVersion.VERSION_1): 0b00,
    int(QuicProtocolVersion.VERSION_2): 0b01,
}
Owner = TypeVar("Owner", bound="Hashable")


@dataclass(frozen=True, slots=True)
class Header:
    """What every version of QUIC says at the start of a datagram; a short header has no version."""

    destination: bytes
    source: bytes = b""
    version: int | None = None
    is_initial: bool = False
    # What an Initial packet returns to prove where it comes from (RFC 9000, 8.1).
    token: bytes = b""


def short_destination(datagram: bytes) -> bytes | None:
    """The connection id of a packet with a short header, or nothing if it has another one."""
    if not datagram or datagram[0] & _LONG_HEADER or len(datagram) <= CONNECTION_ID_SIZE:
        return None
    return datagram[1 : 1 + CONNECTION_ID_SIZE]


def read_header(datagram: bytes) -> Header | None:
    """The header of ``datagram``, or nothing if it is not QUIC."""
    if not datagram:
        return None
    if not datagram[0] & _LONG_HEADER:
        destination = datagram[1 : 1 + CONNECTION_ID_SIZE]
        return Header(destination) if len(destination) == CONNECTION_ID_SIZE else None
    destination, after = _read_id(datagram, 5)
    source, end = _read_id(datagram, after)
    if end > len(datagram):
        return None
    version = int.from_bytes(datagram[1:5])
    packet_type = (datagram[0] & 0x30) >> 4
    if _INITIAL_TYPES.get(version) != packet_type:
        return Header(destination, source, version)
    token = _read_token(datagram, end)
    return (
        None
        if token is None
        else Header(destination, source, version, is_initial=True, token=token)
    )


def negotiation_for(header: Header, size: int) -> bytes | None:
    """The Version Negotiation packet that a datagram of that size earns (RFC 9000, 6.1).

    A Version Negotiation packet never earns another: two nodes could be set upon each other.
    """
    if header.version is None or header.version == _NEGOTIATION or size < SMALLEST_FIRST_DATAGRAM:
        return None
    if header.version in _INITIAL_TYPES or max(len(header.source), len(header.destination)) > 20:
        return None
    return encode_quic_version_negotiation(
        source_cid=header.destination,
        destination_cid=header.source,
        supported_versions=list(_INITIAL_TYPES),
    )


def opens_connection(header: Header, size: int) -> bool:
    """Whether a datagram that belongs to nobody may open a connection."""
    return (
        header.is_initial
        and size >= SMALLEST_FIRST_DATAGRAM
        # RFC 9000, 7.2: a client chooses at least 8 bytes.
        and CONNECTION_ID_SIZE <= len(header.destination) <= _MAX_ID_SIZE
        and len(header.source) <= _MAX_ID_SIZE
    )


class Routes(Generic[Owner]):
    """Connection ids and whose they are; each owner has at most a handful."""

    def __init__(self) -> None:
        self._owners: dict[bytes, Owner] = {}
        self._ids: dict[Owner, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._owners)

    def find(self, connection_id: bytes) -> Owner | None:
        """Whose id that is."""
        return self._owners.get(connection_id)

    def add(self, connection_id: bytes, owner: Owner) -> None:
        """The id is that owner's from now on."""
        self._owners[connection_id] = owner
        self._ids.setdefault(owner, set()).add(connection_id)

    def retire(self, connection_id: bytes) -> None:
        """Nobody sends to that id any more."""
        owner = self._owners.pop(connection_id, None)
        if owner is not None:
            self._ids[owner].discard(connection_id)

    def forget(self, owner: Owner) -> None:
        """Drop every id of ``owner``."""
        for connection_id in self._ids.pop(owner, ()):
            del self._owners[connection_id]


def _read_token(datagram: bytes, offset: int) -> bytes | None:
    """The token of an Initial packet at ``offset``; none if the datagram is cut."""
    if offset >= len(datagram):
        return None
    start = offset + (1 << (datagram[offset] >> 6))
    # RFC 9000, 16: the first two bits say how many bytes the number has.
    size = int.from_bytes(datagram[offset:start]) & ((1 << (8 * (start - offset) - 2)) - 1)
    return datagram[start : start + size] if start + size <= len(datagram) else None


def _read_id(datagram: bytes, offset: int) -> tuple[bytes, int]:
    """A length byte and that many bytes at ``offset``; the end lies beyond a cut datagram."""
    if offset >= len(datagram):
        return b"", len(datagram) + 1
    start = offset + 1
    end = start + datagram[offset]
    return datagram[start:end], end
