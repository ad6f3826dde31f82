"""Whose bundles this machine takes: Ed25519 public keys in folders, trusted or revoked.

A file holds one raw public key as 64 hexadecimal digits; its name is for people. A key that is
revoked anywhere is trusted nowhere. Making keys and signing are left to who builds images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
KEYS_MAX: Final = 64
_FILE_BYTES_MAX: Final = 4096


class NotSigned(UsageError):
    """No key that this machine trusts signed this."""


@dataclass(frozen=True, slots=True)
class Keyring:
    """Raw public keys by key id (sha256 of the raw key), and the key ids that were revoked."""

    trusted: Mapping[bytes, bytes]
    revoked: frozenset[bytes] = frozenset()

    def check(self, key_id: bytes, signature: bytes, message: bytes) -> None:
        """Return if that key is trusted and signed ``message``; raises ``NotSigned``."""
        shown = key_id.hex()[:16]
        if key_id in self.revoked:
            raise NotSigned(
                f"the bundle is signed with key {shown}, which was revoked",
                "get a bundle that is signed with a key in use",
            )
        if key_id not in self.trusted:
            raise NotSigned(
                f"the bundle is signed with key {shown}, which this machine does not know",
                "put the public key into /cfg/update/trusted, if you trust it",
            )
        try:
            Ed25519PublicKey.from_public_bytes(self.trusted[key_id]).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NotSigned(
                "the signature of the bundle is wrong: it was changed after it was signed",
                "fetch it again from where it was made",
            ) from error


def key_id_of(public_key: bytes) -> bytes:
    """The sha256 of a raw public key."""
    return hashlib.sha256(public_key).digest()


def load_keyring(trusted: Iterable[Path], revoked: Iterable[Path]) -> Keyring:
    """The keys of these folders; a folder may be missing. Raises ``UsageError`` for a bad file."""
    keys = [key for folder in trusted for key in _keys_of(folder)]
    banned = [key for folder in revoked for key in _keys_of(folder)]
    return Keyring(
        trusted={key_id_of(key): key for key in keys},
        revoked=frozenset(map(key_id_of, banned)),
    )


def _keys_of(folder: Path) -> Iterator[bytes]:
    if not folder.is_dir():
        return
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    if len(files) > KEYS_MAX:
        raise UsageError(f"{folder} holds more than {KEYS_MAX} keys", "delete those out of use")
    for file in files:
        with file.open("rb") as opened:
            text = opened.read(_FILE_BYTES_MAX)
        yield _key(file, text)


def _key(file: Path, text: bytes) -> bytes:
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(
            f"{file} is no public key", f"it must hold {2 * KEY_BYTES} hexadecimal digits"
        )
    return key
