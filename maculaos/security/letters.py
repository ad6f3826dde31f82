"""Signatures of letters in envelopes, with the credentials that the node has at that moment.

The key comes with the letter, and the node id of its writer is the hash of that key. Whether that
node is a member of the realm is another question, for membership.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from maculaos.identity import node_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.security.credentials import Credentials

_DOMAIN: Final = b"macula envelope, version 2\0"
# The form of every Ed25519 SubjectPublicKeyInfo but for the key (RFC 8410, 4).
_KEY_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
_REMEMBERED: Final = 1024


class RealmLetterSeal:
    """Signs as this node; checks that a writer holds the key that its node id is the hash of."""

    def __init__(self, current: Callable[[], Credentials]) -> None:
        self._current = current

    def sign(self, text: bytes) -> tuple[bytes, bytes]:
        """This node's public key (32 bytes), and its signature of ``text`` (64 bytes)."""
        ours = self._current()
        public = ours.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return public, ours.key.sign(self._domain() + text)

    def is_genuine(self, writer: bytes, public_key: bytes, signature: bytes, text: bytes) -> bool:
        """Whether ``writer`` signed ``text``, for this realm."""
        try:
            key = _key_of(writer, public_key)
            key.verify(signature, self._domain() + text)
        except (InvalidSignature, ValueError):
            return False
        return True

    def _domain(self) -> bytes:
        return _DOMAIN + self._current().identity.realm.encode() + b"\0"


@lru_cache(_REMEMBERED)
def _key_of(writer: bytes, public_key: bytes) -> Ed25519PublicKey:
    """The key, if it is the writer's; raises ``ValueError`` if not."""
    if node_id_of(_KEY_PREFIX + public_key) != writer:
        raise ValueError("the writer is not the hash of the key")
    return Ed25519PublicKey.from_public_bytes(public_key)
