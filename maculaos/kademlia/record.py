"""Signed records: what a publisher says under a key, for a time, and which saying counts.

A record is signed over a canonical text that names the realm, so that nobody who carries it can
change it, keep it alive longer, or bring it into another realm. Signing and verifying themselves
are handed in. A record with an empty value takes back what its publisher said before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from maculaos.errors import MaculaError
from maculaos.identity import NodeId
from maculaos.kademlia.distance import ID_BYTES

KEY_SIZE: Final = 32
MAX_VALUE_SIZE: Final = 4096
MAX_CREDENTIAL_SIZE: Final = 2048
MAX_SIGNATURE_SIZE: Final = 64
MAX_TTL_S: Final = 86_400
MAX_NUMBER: Final = 2**63 - 1
# Clocks of two nodes may differ by this much before they cannot believe each other's records.
MAX_SKEW_S: Final = 300
_DOMAIN: Final = b"macula/record/1\0"


class InvalidRecord(MaculaError, ValueError):
    """A record with a field out of its bounds."""


class Kind(IntEnum):
    """What a record is about. Append only."""

    NODE = 1
    TOPIC = 2
    METHOD = 3
    BOOTSTRAP = 4


class Signer(Protocol):
    """Signs as this node: Ed25519 over the text."""

    def __call__(self, text: bytes, /) -> bytes:
        """Return the signature."""
        ...


class Verifier(Protocol):
    """Tells whether the holder of node id ``publisher`` signed ``text``.

    It also holds the credential against the node id, and the publisher against the realm.
    """

    def __call__(
        self, publisher: NodeId, credential: bytes, text: bytes, signature: bytes, /
    ) -> bool:
        """Return whether to believe it."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """What ``publisher`` says under ``key`` until ``expires_at``, in seconds since the epoch.

    ``ttl_s`` is how long it was to live when it was signed. ``credential`` is what a verifier
    needs to know the publisher's key: the public key itself, or its certificate in DER.
    """

    key: bytes
    kind: int
    value: bytes
    publisher: NodeId
    sequence: int
    expires_at: int
    ttl_s: int
    credential: bytes = b""
    signature: bytes = b""

    def __post_init__(self) -> None:
        if len(self.key) != KEY_SIZE or len(self.publisher) != ID_BYTES:
            raise InvalidRecord("a key and a node id have 32 bytes each")
        if not 0 < self.kind < 256 or not 0 < self.ttl_s <= MAX_TTL_S:
            raise InvalidRecord(f"kind {self.kind} or ttl {self.ttl_s} is out of bounds")
        if not (0 <= self.sequence <= MAX_NUMBER and 0 <= self.expires_at <= MAX_NUMBER):
            raise InvalidRecord("sequence and expiry have 63 bits")
        sizes = (len(self.value), len(self.credential), len(self.signature))
        bounds = (MAX_VALUE_SIZE, MAX_CREDENTIAL_SIZE, MAX_SIGNATURE_SIZE)
        if any(size > bound for size, bound in zip(sizes, bounds, strict=True)):
            raise InvalidRecord(f"value, credential and signature have at most {bounds} bytes")

    @property
    def is_withdrawal(self) -> bool:
        """Whether the publisher takes back what it said."""
        return not self.value

    @property
    def size(self) -> int:
        """Roughly how many bytes it takes to hold or to send."""
        return len(self.value) + len(self.credential) + 192

    @property
    def rank(self) -> tuple[int, int, int, int, bytes, bytes, bytes]:
        """Of two records of one publisher under one key, the one that ranks higher counts.

        The order is total, so that it does not matter in which order a node hears them.
        """
        return (
            self.sequence,
            self.expires_at,
            self.ttl_s,
            self.kind,
            self.value,
            self.credential,
            self.signature,
        )

    def text(self, realm: str) -> bytes:
        """What is signed: every field at a fixed place, numbers big-endian, the value last."""
        return b"".join(
            (
                _DOMAIN,
                hashlib.sha256(realm.encode()).digest(),
                self.key,
                self.kind.to_bytes(1),
                self.publisher,
                self.sequence.to_bytes(8),
                self.expires_at.to_bytes(8),
                self.ttl_s.to_bytes(4),
                hashlib.sha256(self.credential).digest(),
                self.value,
            )
        )

    def remaining_s(self, wall: float) -> float:
        """How long it lives from the wall-clock time ``wall`` on; never more than ``ttl_s``."""
        return min(self.expires_at - wall, float(self.ttl_s))

    def is_from_future(self, wall: float) -> bool:
        """Whether it was signed later than the clocks of two nodes may differ."""
        return self.expires_at - self.ttl_s > wall + MAX_SKEW_S


def believe(held: Record, heard: Record) -> Record:
    """Which of two records of one publisher under one key counts."""
    return max(held, heard, key=lambda record: record.rank)


def key_of(domain: bytes, name: bytes) -> bytes:
    """The key of a name: SHA-256 of ``macula/<domain>/1``, a zero byte, and the name."""
    return hashlib.sha256(b"macula/" + domain + b"/1\0" + name).digest()


def node_key(node_id: NodeId) -> bytes:
    """The key under which a node, and nobody else, says where it is."""
    return key_of(b"node", node_id)
