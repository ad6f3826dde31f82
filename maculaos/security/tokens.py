"""Join tokens: one line of text that lets one machine become one node of a realm, once.

A token pins the authority (the SHA-256 of its certificate), names the node, says where to ask and
until when, and ends with a proof that only the authority can make and check (HMAC-SHA-256). It is
as secret as the place that it gives. Whether it was used already is kept in ``ledger``; this
module reads, writes and checks tokens, and touches no file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.errors import UsageError
from maculaos.identity import InvalidIdentity, check_name, check_realm

if TYPE_CHECKING:
    from cryptography import x509

PREFIX: Final = "macula-join-"
NUMBER_SIZE: Final = 16
PIN_SIZE: Final = 32
PROOF_SIZE: Final = 32
MAX_TEXT_SIZE: Final = 1024
_CHECKSUM_SIZE: Final = 4
_DOMAIN: Final = b"macula join token, version 1\0"


class TokenRefused(UsageError):
    """A token that is damaged, not this authority's, expired, or used already."""


class JoinToken(msgspec.Struct, frozen=True, array_like=True):
    """What a token says; ``expires_at`` in epoch seconds, ``address`` may be empty."""

    number: bytes
    realm: str
    name: str
    pin: bytes
    expires_at: int
    address: str = ""


_DECODER: Final = msgspec.msgpack.Decoder(JoinToken)
_ENCODER: Final = msgspec.msgpack.Encoder()


def pin_of(authority: x509.Certificate) -> bytes:
    """What a token pins: the SHA-256 of the authority's certificate in DER."""
    return hashlib.sha256(authority.public_bytes(Encoding.DER)).digest()


def write_token(token: JoinToken, key: bytes) -> str:
    """``token`` as text, with the proof made with the authority's ``key``."""
    body = _ENCODER.encode(token)
    signed = body + _proof(body, key)
    whole = signed + hashlib.sha256(signed).digest()[:_CHECKSUM_SIZE]
    return PREFIX + base64.urlsafe_b64encode(whole).rstrip(b"=").decode()


def read_token(text: str) -> JoinToken:
    """What the token says, for whoever was given it; raises ``TokenRefused`` if it is damaged.

    Nothing is proved by that: only the authority can tell its own tokens from others.
    """
    return _taken_apart(text)[0]


def check_token(text: str, key: bytes, now: float) -> JoinToken:
    """What the token says, for the authority with ``key``; ``now`` in epoch seconds.

    Raises ``TokenRefused`` if it is damaged, not made with that key, or expired.
    """
    token, body, proof = _taken_apart(text)
    if not hmac.compare_digest(proof, _proof(body, key)):
        raise TokenRefused("the token was not made by this authority")
    if now > token.expires_at:
        raise TokenRefused("the token has expired", "ask for a new one: macula realm invite")
    return token


def _proof(body: bytes, key: bytes) -> bytes:
    return hmac.digest(key, _DOMAIN + body, "sha256")


def _taken_apart(text: str) -> tuple[JoinToken, bytes, bytes]:
    """The token, the bytes that its proof is about, and the proof."""
    written = text.strip()
    damaged = TokenRefused("the token is damaged", "copy the whole line again")
    if not written.startswith(PREFIX) or len(written) > MAX_TEXT_SIZE:
        raise damaged
    try:
        whole = _decoded(written.removeprefix(PREFIX))
    except (binascii.Error, ValueError) as error:
        raise damaged from error
    signed, checksum = whole[:-_CHECKSUM_SIZE], whole[-_CHECKSUM_SIZE:]
    if hashlib.sha256(signed).digest()[:_CHECKSUM_SIZE] != checksum:
        raise damaged
    body, proof = signed[:-PROOF_SIZE], signed[-PROOF_SIZE:]
    try:
        token = _DECODER.decode(body)
        check_realm(token.realm)
        check_name(token.name)
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidIdentity) as error:
        raise damaged from error
    if len(token.number) != NUMBER_SIZE or len(token.pin) != PIN_SIZE:
        raise damaged
    return token, body, proof


def _decoded(text: str) -> bytes:
    """Base64url without padding, strictly: what is not in its alphabet is an error."""
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True)
