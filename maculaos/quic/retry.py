"""Proof of address by Retry (RFC 9000, 8.1.2): tokens that cost this node no memory.

A token states which connection was asked for and when, under a keyed hash that also covers the
address and the connection id to come back to. Whoever returns it receives datagrams at that
address. Keys are drawn anew every few minutes and the one before is forgotten with the next, so a
key that leaks is soon worthless. When a token is wanted is decided in ``admission``.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from typing import TYPE_CHECKING, Final

from aioquic.quic.packet import encode_quic_retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.quic.port import SocketAddress
    from maculaos.quic.routes import Header

# A client answers a Retry at once (RFC 9000, 8.1.4): a few round trips of a bad path.
TOKEN_LIFE_S: Final = 10.0
# Longer than a token lives: the key before the current one is all that may still be needed.
KEY_LIFE_S: Final = 300.0
_KEY_SIZE: Final = 32
_TIME_SIZE: Final = 8
_MAC_SIZE: Final = 16
_PURPOSE: Final = b"macula address token 1"
_HEAD_SIZE: Final = _TIME_SIZE + _MAC_SIZE


class AddressTokens:
    """Makes tokens and reads them back; times in monotonic seconds of one clock."""

    def __init__(self, draw: Callable[[int], bytes], now: float) -> None:
        """``draw`` gives that many unpredictable bytes."""
        self._draw = draw
        self._key = self._previous = draw(_KEY_SIZE)
        self._since = now

    def issue(self, address: SocketAddress, original: bytes, return_to: bytes, now: float) -> bytes:
        """A token for ``address``, whose first datagram went to the connection id ``original``.

        It counts only in a datagram to the connection id ``return_to``.
        """
        self._rotate(now)
        issued_at = max(0, int(now * 1000)).to_bytes(_TIME_SIZE)
        mac = _mac(self._key, issued_at, address, original, return_to)
        return issued_at + mac + original

    def read(
        self, token: bytes, address: SocketAddress, return_to: bytes, now: float
    ) -> bytes | None:
        """The connection id that the first datagram went to; none if the token is no good."""
        self._rotate(now)
        if len(token) <= _HEAD_SIZE:
            return None
        issued_at, original = token[:_TIME_SIZE], token[_HEAD_SIZE:]
        mac = token[_TIME_SIZE:_HEAD_SIZE]
        age_s = now - int.from_bytes(issued_at) / 1000
        if not any(
            hmac.compare_digest(mac, _mac(key, issued_at, address, original, return_to))
            for key in (self._key, self._previous)
        ):
            return None
        return original if age_s <= TOKEN_LIFE_S else None

    def _rotate(self, now: float) -> None:
        idle_s = now - self._since
        if idle_s < KEY_LIFE_S:
            return
        fresh = self._draw(_KEY_SIZE)
        self._previous = self._key if idle_s < 2 * KEY_LIFE_S else fresh
        self._key = fresh
        self._since = now


def retry_packet(header: Header, return_to: bytes, token: bytes) -> bytes:
    """The Retry that answers the Initial with that ``header`` (RFC 9000, 17.2.5)."""
    return encode_quic_retry(
        version=header.version or 0,
        source_cid=return_to,
        destination_cid=header.source,
        original_destination_cid=header.destination,
        retry_token=token,
    )


def _mac(
    key: bytes, issued_at: bytes, address: SocketAddress, original: bytes, return_to: bytes
) -> bytes:
    """A keyed hash over everything that a token stands for; every part has a length of its own."""
    packed = ipaddress.ip_address(str(address[0]).partition("%")[0]).packed
    parts = (_PURPOSE, issued_at, packed, int(address[1]).to_bytes(2), original, return_to)
    framed = b"".join(len(part).to_bytes(2) + part for part in parts)
    return hmac.digest(key, framed, hashlib.sha256)[:_MAC_SIZE]
