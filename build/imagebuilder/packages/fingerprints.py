"""Whose catalogue it is: fingerprints of keys that are trusted or revoked, and the check (pkg(8)).

A catalogue's archive holds ``NAME``, ``NAME.sig`` and ``NAME.pub``. The SHA-256 of the public key,
in hexadecimal, is its fingerprint. What is signed is not the file but the 64 hexadecimal digits of
its SHA-256. RSA signatures are PKCS#1 v1.5 with SHA-256; newer ones name their type in a header
``$PKGSIGN:type$``, of which ecdsa with a standard public key is checked here and every other is
refused by name. A key that is revoked refuses the whole catalogue, whoever else signed it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from imagebuilder.packages import ucl
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

FINGERPRINT_FILES_MAX: Final = 64
FINGERPRINT_FILE_BYTES_MAX: Final = 4096
SEAL_BYTES_MAX: Final = 64 * 1024
SEALS_MAX: Final = 16
RSA_BITS_MIN: Final = 2048
_HEADER: Final = re.compile(rb"\$PKGSIGN:([a-z0-9]{1,16})\$")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class UntrustedRepository(UsageError):
    """No key that is trusted vouches for the catalogue."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Fingerprints of keys: whom to believe, and whom never again."""

    trusted: frozenset[str]
    revoked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seal:
    """One signature of a catalogue with the public key it came with; bytes as in the archive."""

    name: str
    signature: bytes
    public_key: bytes


def trust_of(trusted: Iterable[str], revoked: Iterable[str] = ()) -> Trust:
    """The fingerprints as 64 lower-case hexadecimal digits; raises ``UsageError`` for others."""
    both = [[text.strip().lower() for text in texts] for texts in (trusted, revoked)]
    for fingerprint in (*both[0], *both[1]):
        if not _SHA256.fullmatch(fingerprint):
            raise UsageError(f"{fingerprint!r} is no fingerprint", "give the key's SHA-256 in hex")
    return Trust(frozenset(both[0]), frozenset(both[1]))


def read_trust(folder: Path) -> Trust:
    """The fingerprints in ``folder/trusted`` and ``folder/revoked``, laid out as FreeBSD does."""
    if not (folder / "trusted").is_dir():
        raise UsageError(f"{folder}: no folder trusted", "lay out the keys as in /usr/share/keys")
    return trust_of(_fingerprints(folder / "trusted"), _fingerprints(folder / "revoked"))


def _fingerprints(folder: Path) -> list[str]:
    files = sorted(folder.iterdir())[: FINGERPRINT_FILES_MAX + 1] if folder.is_dir() else []
    if len(files) > FINGERPRINT_FILES_MAX:
        raise UsageError(f"{folder}: more than {FINGERPRINT_FILES_MAX} fingerprints")
    return [parse_fingerprint(_small_text(file), str(file)) for file in files if file.is_file()]


def _small_text(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(FINGERPRINT_FILE_BYTES_MAX).decode("utf-8", "replace")


def parse_fingerprint(text: str, where: str) -> str:
    """The fingerprint that a file of ``trusted/`` or ``revoked/`` states."""
    settings = ucl.parse(text, where)
    if settings.get("function") != "sha256":
        raise UsageError(f"{where}: function must be sha256, not {settings.get('function')!r}")
    return str(settings.get("fingerprint", ""))


def check_seals(content_sha256: str, seals: Sequence[Seal], trust: Trust, where: str) -> str:
    """The fingerprint of a trusted key that signed the content; else ``UntrustedRepository``.

    ``content_sha256`` is in hexadecimal; ``where`` names the catalogue in errors.
    """
    if not seals:
        raise UntrustedRepository(
            f"{where} is not signed", "use a signed repository, or allow this one by name"
        )
    if len(seals) > SEALS_MAX:
        raise UntrustedRepository(f"{where}: more than {SEALS_MAX} signatures")
    keys = {_fingerprint(seal): seal for seal in seals}
    if revoked := sorted(keys.keys() & trust.revoked):
        raise UntrustedRepository(
            f"{where} is signed with a revoked key {revoked[0]}", "do not use this repository"
        )
    believed = sorted(keys.keys() & trust.trusted)
    if not believed:
        raise UntrustedRepository(
            f"{where}: no trusted key signed it, only {', '.join(sorted(keys))}",
            "if this is the right repository, add the fingerprint of its key",
        )
    for fingerprint in believed:
        if _is_signed(content_sha256, keys[fingerprint], where):
            return fingerprint
    raise UntrustedRepository(f"{where}: the signature of {believed[0]} is wrong", "fetch it again")


def _fingerprint(seal: Seal) -> str:
    return hashlib.sha256(_typed(seal.public_key)[1]).hexdigest()


def _typed(content: bytes) -> tuple[str, bytes]:
    """Type and body of a signature or key; without a header it is rsa."""
    header = _HEADER.match(content)
    return (header.group(1).decode(), content[header.end() :]) if header else ("rsa", content)


def _is_signed(content_sha256: str, seal: Seal, where: str) -> bool:
    kind, signature = _typed(seal.signature)
    key = _public_key(_typed(seal.public_key)[1], where)
    signed = content_sha256.encode("ascii")
    try:
        if kind == "rsa" and isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
            # Some versions of pkg count one byte more than the signature has.
            exact = signature[: key.key_size // 8]
            key.verify(exact, signed, padding.PKCS1v15(), hashes.SHA256())
            return True
        if kind == "ecdsa" and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            return True
    except InvalidSignature:
        return False
    raise UntrustedRepository(
        f"{where}: signatures of type {kind} with a {type(key).__name__} are not checked here",
        f"rsa from {RSA_BITS_MIN} bits and ecdsa are",
    )


def _public_key(content: bytes, where: str) -> object:
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            return serialization.load_pem_public_key(content)
        return serialization.load_der_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UntrustedRepository(f"{where}: a public key that cannot be read: {error}") from error
