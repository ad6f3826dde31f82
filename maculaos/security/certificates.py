"""Reading and checking node certificates: what one says, and whether this realm believes it.

The check is made for a realm whose authority signs every node directly: there are no
intermediates to walk and no host names to compare (a node is its key, wherever it answers from).
Files are the business of ``credentials``, the TLS handshake is the business of ``maculaos.quic``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maculaos.errors import MaculaError
from maculaos.identity import URI_SCHEME, Identity, InvalidIdentity, node_id_of, parse_uri
from maculaos.security.revocations import NOTHING_REVOKED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maculaos.security.revocations import RevocationList

# What reading a hostile certificate may raise: its extensions and key are only parsed on access.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm)
# A node is the server of the links it accepts and the client of those it dials.
_WANTED_USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class CertificateRefused(MaculaError):
    """A certificate that this realm does not believe; ``cause`` is the word to count it under."""

    cause: ClassVar[str] = "refused"


class NoCertificate(CertificateRefused):
    """The peer sent no certificate at all."""

    cause = "no certificate"


class NotIssuedByRealm(CertificateRefused):
    """Somebody else than the realm's authority signed it."""

    cause = "foreign authority"


class CertificateExpired(CertificateRefused):
    """Its last moment has passed."""

    cause = "expired"


class CertificateNotYetValid(CertificateRefused):
    """Its first moment has not come: one of the two clocks is wrong."""

    cause = "not yet valid"


class CertificateRevoked(CertificateRefused):
    """The realm's authority has taken it back."""

    cause = "revoked"


class MissingUsage(CertificateRefused):
    """It was not made for both ends of a link, or it is an authority's own."""

    cause = "missing usage"


class MalformedIdentity(CertificateRefused):
    """Its names do not make an identity, or the node id is not the hash of its key."""

    cause = "malformed identity"


class WrongRealm(CertificateRefused):
    """A good certificate of another realm."""

    cause = "another realm"


def identity_of(certificate: x509.Certificate) -> Identity:
    """The identity that ``certificate`` states, whoever signed it.

    Raises ``MalformedIdentity`` unless there is exactly one common name, exactly one URI of our
    scheme, and the node id in it is the hash of the certificate's own key.
    """
    try:
        realm, node_id = parse_uri(_only_uri(certificate))
        identity = Identity(realm, node_id, _common_name(certificate))
        key = certificate.public_key()
        hashed = node_id_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    except InvalidIdentity as error:
        raise MalformedIdentity(str(error)) from error
    except _UNREADABLE as error:
        raise MalformedIdentity("the certificate cannot be read") from error
    if hashed != identity.node_id:
        raise MalformedIdentity("the node id is not the hash of the certificate's key")
    return identity


def check_peer(
    chain: Sequence[x509.Certificate],
    realm_ca: x509.Certificate,
    realm: str,
    now: float,
    revoked: RevocationList = NOTHING_REVOKED,
) -> Identity:
    """The identity of a peer that presented ``chain`` (its own certificate first).

    ``now`` is in seconds since the epoch. Nothing in a certificate is looked at before its
    signature is known to be the realm authority's. Raises one ``CertificateRefused`` per cause.
    """
    if not chain:
        raise NoCertificate("no certificate was presented")
    certificate = chain[0]
    check_issuer(certificate, realm_ca)
    check_dates(certificate, now)
    check_revoked(certificate, revoked)
    _check_usage(certificate)
    identity = identity_of(certificate)
    if identity.realm != realm:
        raise WrongRealm(f"the certificate is of realm {identity.realm}, not {realm}")
    return identity


def check_issuer(certificate: x509.Certificate, realm_ca: x509.Certificate) -> None:
    """Raise ``NotIssuedByRealm`` unless ``realm_ca`` signed ``certificate`` itself."""
    try:
        certificate.verify_directly_issued_by(realm_ca)
    except (InvalidSignature, *_UNREADABLE) as error:
        raise NotIssuedByRealm("the certificate is not signed by this realm's authority") from error


def check_dates(certificate: x509.Certificate, now: float) -> None:
    """Raise ``CertificateExpired`` or ``CertificateNotYetValid``; ``now`` in epoch seconds."""
    moment = datetime.fromtimestamp(now, UTC)
    if moment < certificate.not_valid_before_utc:
        first = written_moment(certificate.not_valid_before_utc)
        raise CertificateNotYetValid(f"the certificate is not valid before {first}")
    if moment > certificate.not_valid_after_utc:
        last = written_moment(certificate.not_valid_after_utc)
        raise CertificateExpired(f"the certificate expired at {last}")


def check_revoked(certificate: x509.Certificate, revoked: RevocationList) -> None:
    """Raise ``CertificateRevoked`` if ``certificate`` is on that list."""
    if revoked.is_revoked(certificate.serial_number):
        raise CertificateRevoked(
            f"the certificate with serial {certificate.serial_number:x} is revoked"
        )


def written_moment(moment: datetime) -> str:
    """A moment as people and tools read it: ``2026-11-21T07:50:41Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether ``certificate`` may sign others."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False
    return constraints.value.ca


def realm_of_authority(realm_ca: x509.Certificate) -> str:
    """The realm that an authority's certificate names, as its organisation.

    Raises ``MalformedIdentity`` when it names none, or more than one.
    """
    names = realm_ca.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise MalformedIdentity("the authority's certificate does not name its realm")
    return names[0].value


def _check_usage(certificate: x509.Certificate) -> None:
    if is_authority(certificate):
        raise MissingUsage("an authority's certificate cannot be a node's")
    try:
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as error:
        raise MissingUsage("the certificate does not say what it is for") from error
    except _UNREADABLE as error:
        raise MalformedIdentity("the certificate cannot be read") from error
    if not all(usage in extended for usage in _WANTED_USAGES):
        raise MissingUsage("the certificate is not for both ends of a link")
    if not signs.digital_signature:
        raise MissingUsage("the certificate's key is not for signatures")


def _only_uri(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise MalformedIdentity("the certificate has no alternative name") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    ours = [uri for uri in uris if uri.startswith(URI_SCHEME)]
    if len(ours) != 1:
        raise MalformedIdentity(f"the certificate has {len(ours)} {URI_SCHEME} names, not one")
    return ours[0]


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise MalformedIdentity(f"the certificate has {len(names)} common names, not one")
    return str(names[0].value)
