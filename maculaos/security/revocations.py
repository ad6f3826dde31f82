"""Revocation lists: which certificates a realm's authority has taken back (RFC 5280, 5).

A list is read and checked here, and compared with the one that is held: an older one is refused,
or whoever may write the file could give a revoked node its place back. Lists are signed in
``revoker``, and files are watched in ``rotation``. There are no delta lists, no lists for a part
of the certificates and no reasons: a serial number is on the list, or it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_LIST_SIZE: Final = 16 * 1024 * 1024
_UNREADABLE: Final = (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm)
# Every other critical extension narrows what a list speaks of: such a list is not understood.
_KNOWN_EXTENSIONS: Final = (x509.CRLNumber, x509.AuthorityKeyIdentifier)


class RevocationListRefused(UsageError):
    """A list that this realm does not believe, or one older than the list that is held."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """What the authority had revoked when it signed list ``number``.

    ``next_update`` is in epoch seconds: after it, a newer list should have come.
    """

    number: int
    serials: frozenset[int]
    next_update: float

    def is_revoked(self, serial: int) -> bool:
        """Whether the certificate of that serial number was taken back."""
        return serial in self.serials

    def is_expired(self, now: float) -> bool:
        """Whether a newer list is overdue; ``now`` in epoch seconds."""
        return now > self.next_update


NOTHING_REVOKED: Final = RevocationList(0, frozenset(), float("inf"))


def read_revocation_list(content: bytes, realm_ca: x509.Certificate) -> RevocationList:
    """The list in ``content`` (PEM), if ``realm_ca`` signed it.

    Raises ``RevocationListRefused`` for anything else: what is no list, is not the authority's,
    has no number or no next update, or speaks of a part of the certificates only. An expired list
    is returned: what was revoked stays so.
    """
    if len(content) > MAX_LIST_SIZE:
        raise RevocationListRefused(f"a revocation list of {len(content)} bytes is too long")
    try:
        signed = x509.load_pem_x509_crl(content)
        _check_signature(signed, realm_ca)
        number = _number(signed)
        next_update = signed.next_update_utc
        serials = frozenset(each.serial_number for each in signed)
    except _UNREADABLE as error:
        hint = "fetch the list from the realm's authority again"
        raise RevocationListRefused("the revocation list cannot be read", hint) from error
    if next_update is None:
        raise RevocationListRefused("the revocation list does not say how long it is good")
    return RevocationList(number, serials, next_update.timestamp())


def newer(held: RevocationList, offered: RevocationList) -> RevocationList:
    """``offered``, unless it is older than ``held``: then ``RevocationListRefused`` is raised."""
    if offered.number < held.number:
        what = f"revocation list {offered.number} is older than list {held.number}, which is held"
        raise RevocationListRefused(what, "fetch the newest list from the realm's authority")
    return offered


def _check_signature(signed: x509.CertificateRevocationList, realm_ca: x509.Certificate) -> None:
    key: Ed25519PublicKey = realm_ca.public_key()  # type: ignore[assignment]
    if signed.issuer != realm_ca.subject or not signed.is_signature_valid(key):
        what = "the revocation list is not signed by this realm's authority"
        raise RevocationListRefused(what, "use the list of the authority in realm_ca")


def _number(signed: x509.CertificateRevocationList) -> int:
    for extension in signed.extensions:
        if extension.critical and not isinstance(extension.value, _KNOWN_EXTENSIONS):
            raise RevocationListRefused("the revocation list is for a part of the certificates")
    try:
        return signed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound as error:
        raise RevocationListRefused("the revocation list has no number") from error
