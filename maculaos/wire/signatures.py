"""Signed events: proof, through any number of hands, of who published what (Ed25519, RFC 8032).

What is signed is not the frame but its meaning, in one form only, behind a word that no other
signature of ours begins with. ``hops`` is left out: those who pass an event on change it. The
event carries the public key, and the node id of its publisher is the hash of that key; so whoever
knows the node id can check, without a certificate at hand. Whether that node is a member of the
realm is another question, for membership.
"""

from __future__ import annotations

import struct
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maculaos.errors import LocalProtocolError, RemoteProtocolError
from maculaos.identity import node_id_of
from maculaos.wire.events import Events
from maculaos.wire.messages import Event

E = TypeVar("E", Event, Events)

KEY_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
_DOMAIN: Final = b"macula event, version 1\0"
_RUN_DOMAIN: Final = b"macula events, version 2\0"
_SIZE: Final = struct.Struct(">I")
_SEQUENCE: Final = struct.Struct(">Q")
# The form of every Ed25519 SubjectPublicKeyInfo but for the key (RFC 8410, 4).
_KEY_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")


class BadSignature(RemoteProtocolError):
    """An event that says it is signed, and is not by its publisher."""


def sign_event(event: E, realm: str, key: Ed25519PrivateKey) -> E:
    """``event`` with the public key and the signature of its publisher.

    Raises ``LocalProtocolError`` if ``key`` is not the publisher's.
    """
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if _publisher_of(public) != event.publisher:
        raise LocalProtocolError("an event is signed with the key of its publisher")
    signature = key.sign(signed_text(event, realm))
    return msgspec.structs.replace(event, public_key=public, signature=signature)


def is_signed(event: Event | Events) -> bool:
    """Whether ``event`` claims to be signed; ``check_event`` says whether it is."""
    return bool(event.public_key or event.signature)


def check_event(event: Event | Events, realm: str) -> None:
    """Raise ``BadSignature`` unless its publisher signed ``event`` for ``realm``."""
    if len(event.public_key) != KEY_SIZE or len(event.signature) != SIGNATURE_SIZE:
        raise BadSignature("a signature has 64 bytes, and comes with a key of 32")
    if _publisher_of(event.public_key) != event.publisher:
        raise BadSignature("the publisher is not the hash of the key")
    try:
        key = Ed25519PublicKey.from_public_bytes(event.public_key)
        key.verify(event.signature, signed_text(event, realm))
    except (InvalidSignature, ValueError, struct.error) as error:
        raise BadSignature("the signature is not of this event") from error


def signed_text(event: Event | Events, realm: str) -> bytes:
    """What the signature is made over: each part behind its length, so that none runs on."""
    if isinstance(event, Events):
        return _text_of_run(event, realm)
    parts = (realm.encode(), event.topic.encode(), bytes(event.publisher))
    prefixed = b"".join(_SIZE.pack(len(part)) + part for part in parts)
    payload = bytes(event.payload)
    sequence = _SEQUENCE.pack(event.sequence)
    return _DOMAIN + prefixed + sequence + _SIZE.pack(len(payload)) + payload


def _text_of_run(run: Events, realm: str) -> bytes:
    parts = (realm.encode(), run.topic.encode(), bytes(run.publisher))
    prefixed = b"".join(_SIZE.pack(len(part)) + part for part in parts)
    payloads = b"".join(_SIZE.pack(len(each)) + bytes(each) for each in run.payloads)
    numbers = _SEQUENCE.pack(run.sequence) + _SIZE.pack(len(run.payloads))
    return _RUN_DOMAIN + prefixed + numbers + payloads


def _publisher_of(public_key: bytes) -> bytes:
    return node_id_of(_KEY_PREFIX + public_key)
