"""Signatures: who made a file, by Ed25519 (RFC 8032), in a small text file beside it.

Keys are made here and lie in files of mode 0600; no key is printed or logged. Which keys count,
and which are revoked, is decided by whoever verifies. The format is in docs/image-format.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from maculaos.host.entropy import Entropy

KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SIGNED_BYTES_MAX: Final = 1024 * 1024
SUFFIX: Final = ".sig"
_KEY_FILE_BYTES_MAX: Final = 4096
_SECRET_MODE: Final = 0o600
# The first line of a signature file. It is signed too, so a signature of a file is never good for
# anything else that the same key signs.
_PURPOSE: Final = b"maculaos signature 1\n"
_TEXT: Final = re.compile(
    re.escape(_PURPOSE.decode()) + r"key ([0-9a-f]{16})\ned25519 ([A-Za-z0-9+/]{86}==)\n"
)


class SignatureRefused(UsageError):
    """The signature is not good, or nobody trusted made it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies: 32 bytes."""

    raw: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key: its full id, 32 bytes."""
        return hashlib.sha256(self.raw).digest()

    @property
    def key_id(self) -> str:
        """The first 16 hexadecimal digits of the digest: its id for people."""
        return self.digest.hex()[:16]

    def check(self, signature: bytes, message: bytes) -> None:
        """Raise ``SignatureRefused`` unless this key's owner signed ``message``."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise SignatureRefused(
                f"the signature by key {self.key_id} is not good",
                "the file was changed or is incomplete: fetch it again",
            ) from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs; its secret is in no text of this object."""

    _key: Ed25519PrivateKey = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """The key that verifies what this one signs."""
        return PublicKey(self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    def sign(self, message: bytes) -> bytes:
        """The signature of ``message``, 64 bytes; the same each time."""
        return self._key.sign(message)


def public_path(path: Path) -> Path:
    """Where the public half of the key file ``path`` lies: 64 hexadecimal digits of text."""
    return path.with_name(path.name + ".pub")


def generate_key(path: Path, entropy: Entropy) -> PublicKey:
    """Make a key in ``path`` (PKCS #8 in PEM, mode 0600), and its public half beside it.

    Raises ``UsageError`` when either file exists: machines trust the key that is there.
    """
    for file in (path, public_path(path)):
        if file.exists():
            raise UsageError(f"{file} exists already", "choose another name for the new key")
    key = Ed25519PrivateKey.from_private_bytes(entropy.draw(KEY_BYTES))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, pem, _SECRET_MODE)
    public = SigningKey(key).public
    write_atomically(public_path(path), f"{public.raw.hex()}\n".encode())
    return public


def load_signing_key(path: Path) -> SigningKey:
    """Read a key made by ``generate_key``; raises ``UsageError`` when others may read it too."""
    try:
        if path.stat().st_mode & 0o077:
            raise UsageError(f"{path} can be read by others", f"chmod 600 {path}")
        key = load_pem_private_key(_read(path, _KEY_FILE_BYTES_MAX), password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is no private key", "restore it from your backup") from error
    except OSError as error:
        hint = "make a key first, or name the file that holds it"
        raise UsageError(f"no signing key in {path}: {error.strerror}", hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key", "make one with this program")
    return SigningKey(key)


def load_public_key(path: Path) -> PublicKey:
    """Read a public key: 64 hexadecimal digits; raises ``UsageError``."""
    text = _read(path, _KEY_FILE_BYTES_MAX).decode("ascii", "replace").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise UsageError(f"{path} is no public key", "it holds 64 hexadecimal digits")
    return PublicKey(bytes.fromhex(text))


def sign_file(path: Path, key: SigningKey) -> Path:
    """Write the signature of ``path`` (at most 1 MiB) to ``path`` + ``.sig``; returns its path."""
    signature = key.sign(_PURPOSE + _read(path, SIGNED_BYTES_MAX))
    text = f"key {key.public.key_id}\ned25519 {base64.b64encode(signature).decode()}\n"
    target = path.with_name(path.name + SUFFIX)
    write_atomically(target, _PURPOSE + text.encode())
    return target


def verify_file(path: Path, trusted: Iterable[PublicKey]) -> PublicKey:
    """The trusted key that signed ``path``; raises ``SignatureRefused`` if none did."""
    file = path.with_name(path.name + SUFFIX)
    found = _TEXT.fullmatch(_read(file, _KEY_FILE_BYTES_MAX).decode("ascii", "replace"))
    if found is None:
        raise SignatureRefused(f"{file} is no signature", "fetch it again")
    try:
        signature = base64.b64decode(found[2], validate=True)
    except binascii.Error as error:
        raise SignatureRefused(f"{file} is no signature", "fetch it again") from error
    if base64.b64encode(signature).decode() != found[2]:
        raise SignatureRefused(f"{file} is no signature", "fetch it again")
    key = next((key for key in trusted if key.key_id == found[1]), None)
    if key is None:
        raise SignatureRefused(
            f"{file} is by key {found[1]}, which is not trusted", "check its maker"
        )
    key.check(signature, _PURPOSE + _read(path, SIGNED_BYTES_MAX))
    return key


def _read(path: Path, limit: int) -> bytes:
    """The whole file, at most ``limit`` bytes; raises ``UsageError``."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", "name a file that is there"
        ) from error
    if len(content) > limit:
        raise UsageError(f"{path} is larger than {limit} bytes", "check that it is the right file")
    return content
