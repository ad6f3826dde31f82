"""A node's own credentials, read from files and checked before anything is offered to a peer.

Every fault is found here, at start, in one line with the next move, instead of in a handshake
that another machine refuses. This module writes nothing and repairs nothing.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from maculaos.errors import UsageError
from maculaos.identity import Identity
from maculaos.security.certificates import (
    CertificateExpired,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateRevoked,
    NotIssuedByRealm,
    WrongRealm,
    check_peer,
    is_authority,
)
from maculaos.security.revocations import (
    MAX_LIST_SIZE,
    NOTHING_REVOKED,
    RevocationList,
    RevocationListRefused,
    read_revocation_list,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from maculaos.settings import CredentialSettings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a node proves itself with, and what it checks its peers against."""

    identity: Identity
    certificate: x509.Certificate
    key: Ed25519PrivateKey = field(repr=False)
    realm_ca: x509.Certificate
    revoked: RevocationList = NOTHING_REVOKED


def load_credentials(
    settings: CredentialSettings, name: str, realm: str, now: float
) -> Credentials:
    """The credentials of the node ``name`` of ``realm``; ``now`` in epoch seconds.

    Raises ``UsageError`` for a file that is missing, unreadable or not what it should be, a key
    that others may read or that is not the certificate's, a certificate that is expired, revoked,
    of another realm, of another node, or not signed by the realm's authority, and a revocation
    list that is not the authority's.
    """
    realm_ca = read_certificate(settings.realm_ca)
    certificate = read_certificate(settings.certificate)
    key = read_key(settings.key)
    if not is_authority(realm_ca):
        raise UsageError(
            f"{settings.realm_ca} is not an authority's certificate",
            "realm_ca must name the realm.crt that macula realm issue wrote",
        )
    revoked = NOTHING_REVOKED
    if settings.revocations is not None:
        revoked = read_revocations(settings.revocations, realm_ca)
    check = partial(check_peer, (certificate,), realm_ca, realm, now, revoked)
    identity = _checked(settings.certificate, check)
    if identity.name != name:
        raise UsageError(
            f"{settings.certificate} belongs to the node {identity.name}, not {name}",
            "correct name or credentials in the configuration",
        )
    if key.public_key() != certificate.public_key():
        raise UsageError(
            f"{settings.key} is not the key of {settings.certificate}",
            "use the two files that macula realm issue wrote together",
        )
    return Credentials(identity, certificate, key, realm_ca, revoked)


def read_certificate(path: Path) -> x509.Certificate:
    """The first certificate in a PEM file; raises ``UsageError`` if there is none."""
    content = _read(path)
    if b"PRIVATE KEY-----" in content:
        raise UsageError(f"{path} holds a private key", "name the certificate file (.crt)")
    try:
        return x509.load_pem_x509_certificate(content)
    except ValueError as error:
        raise UsageError(f"{path} holds no certificate", "name a PEM file (.crt)") from error


def read_revocations(path: Path, realm_ca: x509.Certificate) -> RevocationList:
    """The authority's list in a PEM file; raises ``UsageError`` if it is missing or not good."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_LIST_SIZE + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}",
            "copy realm.crl from the realm's authority, or leave credentials.revocations out",
        ) from error
    try:
        return read_revocation_list(content, realm_ca)
    except RevocationListRefused as refusal:
        raise RevocationListRefused(f"{path}: {refusal.what}", refusal.hint) from refusal


def read_key(path: Path) -> Ed25519PrivateKey:
    """The private key in a PEM file that only its owner may use; else raises ``UsageError``."""
    content = _read(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise UsageError(f"{path} has mode {mode:04o}: others may use the key", f"chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no private key", "name a PEM file (.key)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 key", "issue the identity again")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"{path} does not exist", "issue an identity with: macula realm issue NODE"
        ) from error
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", "check its owner and mode"
        ) from error


def _checked(path: Path, check: Callable[[], Identity]) -> Identity:
    """What a peer would find out, told to the operator."""
    try:
        return check()
    except CertificateRefused as refusal:
        raise UsageError(f"{path}: {refusal}", _next_move(refusal)) from refusal


def _next_move(refusal: CertificateRefused) -> str:
    match refusal:
        case CertificateExpired():
            return (
                "where the authority is: macula realm issue NODE --realm-dir DIR --out DIR --renew"
            )
        case CertificateRevoked():
            return "ask whoever guards the realm's authority for a new identity"
        case CertificateNotYetValid():
            return "set the clock of this machine"
        case NotIssuedByRealm():
            return "use the realm.crt that was written beside the certificate"
        case WrongRealm():
            return "correct realm or credentials in the configuration"
        case _:
            return "issue the identity again with: macula realm issue NODE"
