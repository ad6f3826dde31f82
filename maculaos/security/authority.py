"""A realm's certificate authority: made once, it signs the certificate of every node.

Everything is Ed25519: aioquic signs and verifies it in both directions of a mutual handshake, the
keys are 32 bytes, and no signature needs fresh entropy. Keys only ever reach files of mode 0600.
What is signed is kept in ``ledger`` first. Taking back is ``revoker``'s business, other machines
are that of ``enrolment``; no key is ever printed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory, write_atomically
from maculaos.identity import Identity, InvalidIdentity, check_name, check_realm, node_id_of
from maculaos.security.certificates import MalformedIdentity, realm_of_authority
from maculaos.security.ledger import Ledger, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.host.entropy import Entropy

# Where other machines ask the authority, as TLS names it. No node may have that name.
ENROLMENT_HOST = "enrolment.macula.internal"
REALM_DAYS = 3650
NODE_DAYS = 365
# Clocks of small machines disagree: a new certificate must be good at once on all of them.
BACKDATED = timedelta(minutes=5)
_KEY_SIZE = 32
# RFC 5280, 4.1.2.2: positive and at most 20 octets; 19 are always both.
_SERIAL_SIZE = 19
_SECRET_MODE = 0o600


@dataclass(frozen=True, slots=True)
class RealmFiles:
    """Where a realm's authority lives."""

    certificate: Path
    key: Path
    # Signs join tokens; made with the first.
    token_key: Path
    # The newest revocation list; there is none until something is revoked.
    revocations: Path


@dataclass(frozen=True, slots=True)
class IdentityFiles:
    """Where one node's identity lives.

    ``realm_ca`` and ``revocations`` are copies of the authority's files of the same names.
    """

    certificate: Path
    key: Path
    realm_ca: Path
    revocations: Path


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority in memory, ready to sign."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a node's certificate shall say; ``hosts`` are extra DNS names or IP addresses."""

    name: str
    days: int = NODE_DAYS
    hosts: tuple[str, ...] = ()
    # Sign the key that is there once more, so that the node id stays; hosts stay unless named.
    is_renewal: bool = False


def realm_files(directory: Path) -> RealmFiles:
    """The files of the authority in ``directory``, whether they exist or not."""
    names = ("realm.crt", "realm.key", "tokens.key", "realm.crl")
    return RealmFiles(*(directory / name for name in names))


def identity_files(out: Path, name: str) -> IdentityFiles:
    """The files of the node ``name`` under ``out``, whether they exist or not."""
    home = out / name
    names = ("node.crt", "node.key", "realm.crt", "realm.crl")
    return IdentityFiles(*(home / name for name in names))


def create_realm(
    directory: Path, realm: str, *, now: float, entropy: Entropy, days: int = REALM_DAYS
) -> RealmFiles:
    """Make the authority of ``realm`` in ``directory``; ``now`` in epoch seconds.

    Raises ``UsageError`` for a name that cannot be a realm's, for days below 1, and when an
    authority is there already: replacing it would cut off every node that it ever signed.
    """
    _check_word(check_realm, realm)
    files = realm_files(directory)
    for path in (files.certificate, files.key):
        if path.exists():
            raise UsageError(f"{path} exists already", "choose another folder for the new realm")
    key = Ed25519PrivateKey.from_private_bytes(entropy.draw(_KEY_SIZE))
    certificate = _sign_authority(key, realm, validity_of(now, days), entropy)
    make_private_directory(directory)
    write_key(files.key, key)
    write_atomically(files.certificate, certificate.public_bytes(Encoding.PEM))
    return files


def open_authority(directory: Path) -> Authority:
    """Read the authority in ``directory``; raises ``UsageError`` if there is none."""
    files = realm_files(directory)
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = load_pem_private_key(files.key.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(
            f"no realm authority in {directory}: {error.strerror}: {error.filename}",
            "make one with: macula realm init NAME --out DIR",
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"the realm authority in {directory} cannot be read", "restore it from your backup"
        ) from error
    if not isinstance(key, Ed25519PrivateKey) or key.public_key() != certificate.public_key():
        raise UsageError(
            f"{files.key} is not the key of {files.certificate}", "restore both from your backup"
        )
    return Authority(certificate, key)


def issue(
    realm_directory: Path, out: Path, request: Request, *, now: float, entropy: Entropy
) -> IdentityFiles:
    """Give a node its identity under ``out``; ``now`` in epoch seconds.

    Raises ``UsageError`` when the request cannot be met: a bad name, no authority, an identity
    that exists already (unless this is a renewal), or one to renew that does not.
    """
    _check_word(check_name, request.name)
    authority = open_authority(realm_directory)
    files = identity_files(out, request.name)
    key = _kept_key(files.key) if request.is_renewal else new_key(files, entropy)
    if request.is_renewal and not request.hosts:
        request = replace(request, hosts=_hosts_in(files.certificate))
    certificate = sign_node(authority, request, key.public_key(), now=now, entropy=entropy)
    with guarded(realm_directory):
        Ledger(realm_directory).record(request.name, certificate)
    make_private_directory(out)
    make_private_directory(files.key.parent)
    if not request.is_renewal:
        write_key(files.key, key)
    write_atomically(files.certificate, certificate.public_bytes(Encoding.PEM))
    write_atomically(files.realm_ca, authority.certificate.public_bytes(Encoding.PEM))
    return files


def sign_node(
    authority: Authority, request: Request, key: Ed25519PublicKey, *, now: float, entropy: Entropy
) -> x509.Certificate:
    """The certificate of a node with that key, in the authority's own realm.

    ``now`` is in epoch seconds. Raises ``UsageError`` for days below 1 or beyond the authority's.
    """
    first, last = validity_of(now, request.days)
    if last > authority.certificate.not_valid_after_utc:
        ends = authority.certificate.not_valid_after_utc
        left = max(0, (ends - datetime.fromtimestamp(now, UTC)).days)
        raise UsageError(
            f"{request.days} days are beyond the realm authority's own {left}",
            "choose fewer days, or make a new realm authority",
        )
    builder = (
        certificate_of(key, (first, last), entropy)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, request.name)]))
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(is_authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .add_extension(_names(authority, request, key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    return builder.sign(authority.key, None)


def _sign_authority(
    key: Ed25519PrivateKey, realm: str, validity: tuple[datetime, datetime], entropy: Entropy
) -> x509.Certificate:
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, realm),
            x509.NameAttribute(NameOID.COMMON_NAME, "Macula realm authority"),
        ]
    )
    # No name constraint: for URIs it speaks of fully qualified host names only (RFC 5280,
    # 4.2.1.10), and a realm is often one word. Every node compares the realm itself instead.
    return (
        certificate_of(key.public_key(), validity, entropy)
        .subject_name(subject)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(is_authority=True), critical=True)
        .sign(key, None)
    )


def certificate_of(
    key: Ed25519PublicKey, validity: tuple[datetime, datetime], entropy: Entropy
) -> x509.CertificateBuilder:
    """What every certificate begins with: a key, from when to when, and a number of its own."""
    first, last = validity
    serial = int.from_bytes(entropy.draw(_SERIAL_SIZE)) or 1
    return (
        x509.CertificateBuilder()
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _names(
    authority: Authority, request: Request, key: Ed25519PublicKey
) -> x509.SubjectAlternativeName:
    try:
        realm = realm_of_authority(authority.certificate)
    except MalformedIdentity as error:
        raise UsageError(str(error), "use an authority made by macula realm init") from error
    node_id = node_id_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    uri = x509.UniformResourceIdentifier(Identity(realm, node_id, request.name).uri)
    return x509.SubjectAlternativeName([uri, *(_host_name(host) for host in request.hosts)])


def _host_name(host: str) -> x509.GeneralName:
    if host.lower().rstrip(".") == ENROLMENT_HOST:
        raise UsageError(f"{host} is the authority's own name", "name another host")
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as error:
        raise UsageError(f"{host!r} is not a host", "name a DNS name or an IP address") from error


def key_usage(*, is_authority: bool) -> x509.KeyUsage:
    """What a key may do: an authority signs certificates and lists, all others only messages."""
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def validity_of(now: float, days: int) -> tuple[datetime, datetime]:
    """From a little before ``now`` (epoch seconds) until so many days later."""
    if not 1 <= days <= REALM_DAYS:
        raise UsageError(f"{days} days is not a lifetime", f"choose 1 to {REALM_DAYS} days")
    moment = datetime.fromtimestamp(now, UTC).replace(microsecond=0)
    return moment - BACKDATED, moment + timedelta(days=days)


def new_key(files: IdentityFiles, entropy: Entropy) -> Ed25519PrivateKey:
    """A key for an identity that is not there yet; else raises ``UsageError``."""
    for path in (files.certificate, files.key):
        if path.exists():
            home = files.key.parent
            again = f"macula realm issue {home.name} --realm-dir DIR --out {home.parent} --renew"
            raise UsageError(
                f"{path} exists already", f"renew it with: {again}; or choose another --out"
            )
    return Ed25519PrivateKey.from_private_bytes(entropy.draw(_KEY_SIZE))


def _kept_key(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be renewed: {error.strerror}", "issue it without --renew"
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} holds no private key", "issue a new identity") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 key", "issue a new identity")
    return key


def _hosts_in(path: Path) -> tuple[str, ...]:
    """The host names of the certificate that is renewed; none if it is lost or not readable."""
    try:
        return hosts_of(x509.load_pem_x509_certificate(path.read_bytes()))
    except (OSError, ValueError):
        return ()


def hosts_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """The DNS names and IP addresses in a certificate: a renewed one keeps them."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return (*map(str, addresses), *extension.value.get_values_for_type(x509.DNSName))


def write_key(path: Path, key: Ed25519PrivateKey) -> None:
    """Write a private key where only its owner can read it."""
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(path, content, _SECRET_MODE)


def _check_word(check: Callable[[str], str], word: str) -> None:
    try:
        check(word)
    except InvalidIdentity as error:
        raise UsageError(str(error)) from error
