"""Signed events: proof, through any number of hands, of who published what (Ed25519, RFC 8032).

What is signed is not the frame but its meaning, in one form only, behind a word that no other
signature of ours begins with: topic, publisher, number and payloads of a run. What those who pass
it on change is left out. The run carries the public key, and the node id of its publisher is the
hash of that key; so whoever knows the node id can check, without a certificate at hand. Whether
that node is a member of the realm is another question, for membership.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maculaos.errors import LocalProtocolError, RemoteProtocolError
from maculaos.identity import node_id_of

if TYPE_CHECKING:
    from maculaos.wire.events import Events

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_DOMAIN: Final = b"macula events, version 2\0"
_SIZE: Final = struct.Struct(">I")
_SEQUENCE: Final = struct.Struct(">Q")
# The form of every Ed25519 SubjectPublicKeyInfo but for the key (RFC 8410, 4).
_KEY_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")


class BadSignature(RemoteProtocolError):
    """A run that says it is signed, and is not by its publisher."""


def sign_run(run: Events, realm: str, key: Ed25519PrivateKey) -> Events:
    """``run`` with the public key and the signature of its publisher.

    Raises ``LocalProtocolError`` if ``key`` is not the publisher's.
    """
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if _publisher_of(public) != run.publisher:
        raise LocalProtocolError("a run is signed with the key of its publisher")
    signature = key.sign(signed_text(run, realm))
    return msgspec.structs.replace(run, public_key=public, signature=signature)


def is_signed(run: Events) -> bool:
    """Whether ``run`` claims to be signed; ``check_run`` says whether it is."""
    return bool(run.public_key or run.signature)


def check_run(run: Events, realm: str) -> None:
    """Raise ``BadSignature`` unless its publisher signed ``run`` for ``realm``."""
    if len(run.public_key) != KEY_SIZE or len(run.signature) != SIGNATURE_SIZE:
        raise BadSignature("a signature has 64 bytes, and comes with a key of 32")
    if _publisher_of(run.public_key) != run.publisher:
        raise BadSignature("the publisher is not the hash of the key")
    try:
        key = Ed25519PublicKey.from_public_bytes(run.public_key)
        key.verify(run.signature, signed_text(run, realm))
    except (InvalidSignature, ValueError, struct.error) as error:
        raise BadSignature("the signature is not of this run") from error


def signed_text(run: Events, realm: str) -> bytes:
    """What the signature is made over: each part behind its length, so that none runs on."""
    parts = (realm.encode(), run.topic.encode(), bytes(run.publisher))
    prefixed = b"".join(_SIZE.pack(len(part)) + part for part in parts)
    numbers = _SEQUENCE.pack(run.sequence) + _SIZE.pack(len(run.payloads))
    payloads = b"".join(_SIZE.pack(len(each)) + bytes(each) for each in run.payloads)
    return _DOMAIN + prefixed + numbers + payloads


def _publisher_of(public_key: bytes) -> bytes:
    return node_id_of(_KEY_PREFIX + public_key)
