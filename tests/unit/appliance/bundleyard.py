"""Bundles for tests: made here from the format, signed with a key of the moment."""

from __future__ import annotations

import hashlib
import json
import lzma
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.keys import Keyring, key_id_of

MIB = 1 << 20
SLOT_BYTES = 2 * MIB + 512
MAGIC = b"MACULAUP1\n"


def public_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
KEYRING = Keyring({key_id_of(public_of(KEY)): public_of(KEY)})


@lru_cache
def system(name: str, size: int = SLOT_BYTES) -> bytes:
    """The bytes of a slot; each name gives others, in every sector."""
    word = hashlib.sha256(name.encode()).digest()
    return (word * (size // len(word) + 1))[:size]


@lru_cache
def packed(piece: bytes) -> bytes:
    return lzma.compress(piece, format=lzma.FORMAT_XZ, preset=0)


@dataclass
class Making:
    """One bundle; change any part of it before ``encode``."""

    content: bytes
    version: str = "2.0"
    created: str = "2026-11-21T10:00:00+00:00"
    chunk_bytes: int = MIB
    key: Ed25519PrivateKey = KEY
    changes: dict[str, Any] = field(default_factory=dict)

    def pieces(self) -> list[bytes]:
        step = self.chunk_bytes
        return [self.content[at : at + step] for at in range(0, len(self.content), step)]

    def manifest(self) -> bytes:
        said = {
            "format": 1,
            "name": "appliance",
            "version": self.version,
            "arch": "amd64",
            "commit": "c0ffee",
            "created": self.created,
            "slot_bytes": len(self.content),
            "chunk_bytes": self.chunk_bytes,
            "slot_sha256": hashlib.sha256(self.content).hexdigest(),
            "chunks": [hashlib.sha256(piece).hexdigest() for piece in self.pieces()],
        }
        return json.dumps({**said, **self.changes}, sort_keys=True, separators=(",", ":")).encode()

    def head(self) -> bytes:
        manifest = self.manifest()
        # The signature covers magic and manifest, not the length between them.
        signature = self.key.sign(MAGIC + manifest)
        return b"".join(
            (
                MAGIC,
                len(manifest).to_bytes(4, "big"),
                manifest,
                len(signature).to_bytes(2, "big"),
                signature,
                key_id_of(public_of(self.key)),
            )
        )

    def encode(self) -> bytes:
        tail = (packed(piece) for piece in self.pieces())
        return self.head() + b"".join(len(each).to_bytes(4, "big") + each for each in tail)
