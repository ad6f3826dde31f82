"""Grants: what an authority gives to a node, as one text of PEM blocks, and its installation.

The node's certificate comes first, the authority's second, its revocation list last, if there is
one. A grant holds nothing secret; the private key never leaves the machine that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from maculaos.errors import UsageError
from maculaos.host.files import write_atomically
from maculaos.security.authority import Authority, IdentityFiles, realm_files
from maculaos.security.certificates import (
    CertificateRefused,
    check_issuer,
    identity_of,
    is_authority,
    realm_of_authority,
)
from maculaos.security.credentials import read_revocations
from maculaos.security.revocations import MAX_LIST_SIZE, read_revocation_list
from maculaos.security.tokens import pin_of

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.identity import Identity

MAX_GRANT_SIZE: Final = MAX_LIST_SIZE + 32 * 1024
_LIST_BEGINS: Final = b"-----BEGIN X509 CRL-----"
_SECRET_MODE: Final = 0o600


@dataclass(frozen=True, slots=True)
class Grant:
    """A node's certificate and its authority's; ``revocations`` is a list in PEM, or empty."""

    certificate: x509.Certificate
    authority: x509.Certificate
    revocations: bytes = b""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a machine asked for: a name, for its key, of the authority that it was told to trust.

    Without a ``pin`` any authority will do: somebody carried the grant here by hand.
    """

    name: str
    key: Ed25519PublicKey
    pin: bytes | None = None


def write_grant(directory: Path, authority: Authority, certificate: x509.Certificate) -> bytes:
    """The grant of ``certificate``, with the newest revocation list of the authority there."""
    blocks = [each.public_bytes(Encoding.PEM) for each in (certificate, authority.certificate)]
    path = realm_files(directory).revocations
    if path.exists():
        read_revocations(path, authority.certificate)
        blocks.append(path.read_bytes())
    return b"".join(blocks)


def read_grant(content: bytes) -> Grant:
    """The grant in ``content``; raises ``UsageError`` if it is none."""
    certificates, begins, revocations = content.partition(_LIST_BEGINS)
    try:
        if len(content) > MAX_GRANT_SIZE:
            raise ValueError("too long")
        certificate, authority = x509.load_pem_x509_certificates(certificates)
    except ValueError as error:
        raise UsageError(
            "this is no grant of an authority", "macula realm sign writes one"
        ) from error
    return Grant(certificate, authority, begins + revocations if begins else b"")


def check_grant(grant: Grant, wanted: Wanted) -> Identity:
    """Who the grant makes of us; raises ``UsageError`` if it is not what was asked for.

    Dates are not looked at: the clock of a new machine may be wrong, and a node tells at start.
    """
    if wanted.pin is not None and pin_of(grant.authority) != wanted.pin:
        raise UsageError(
            "the answer is not of the authority that the token names", "trust nothing of it"
        )
    try:
        check_issuer(grant.certificate, grant.authority)
        identity = identity_of(grant.certificate)
        realm = realm_of_authority(grant.authority)
    except CertificateRefused as refusal:
        raise UsageError(f"the answer cannot be used: {refusal}", "ask again") from refusal
    is_ours = grant.certificate.public_key() == wanted.key and identity.name == wanted.name
    if not is_ours or identity.realm != realm or not is_authority(grant.authority):
        raise UsageError(
            f"the answer is for {identity.name} of realm {identity.realm}, with another key",
            "name the folder that the request was made in",
        )
    if grant.revocations:
        read_revocation_list(grant.revocations, grant.authority)
    return identity


def install(grant: Grant, files: IdentityFiles) -> None:
    """Write a checked grant beside the key that is there already, readable by its owner only.

    A revocation list that is older than the one there is left out.
    """
    for path, certificate in (
        (files.realm_ca, grant.authority),
        (files.certificate, grant.certificate),
    ):
        write_atomically(path, certificate.public_bytes(Encoding.PEM), _SECRET_MODE)
    if grant.revocations and _is_newest(grant, files.revocations):
        write_atomically(files.revocations, grant.revocations, _SECRET_MODE)


def _is_newest(grant: Grant, path: Path) -> bool:
    """Whether no list that the authority signed later lies at ``path``."""
    offered = read_revocation_list(grant.revocations, grant.authority)
    try:
        return read_revocations(path, grant.authority).number <= offered.number
    except UsageError:
        return True  # There is none, or none of this authority.
