"""Signing requests (PKCS #10): what a machine shows the authority instead of its private key.

A request names the node and carries the public key, signed with the private one. Everything else
that a request may ask for is ignored: what a certificate says is the authority's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from maculaos.errors import UsageError
from maculaos.identity import InvalidIdentity, check_name

MAX_REQUEST_SIZE: Final = 8 * 1024
_UNREADABLE: Final = (ValueError, TypeError, x509.DuplicateExtension, UnsupportedAlgorithm)


class RequestRefused(UsageError):
    """Not a request for a node's certificate."""


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """Who wants a certificate: the name that it says, and the key that it proved to have."""

    name: str
    key: Ed25519PublicKey


def new_request(name: str, key: Ed25519PrivateKey) -> bytes:
    """The request of the node ``name`` that has ``key``, as PEM."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(name))])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, None)
    return request.public_bytes(Encoding.PEM)


def read_request(content: bytes) -> SigningRequest:
    """The request in ``content`` (PEM); raises ``RequestRefused`` unless name and key are good."""
    if len(content) > MAX_REQUEST_SIZE:
        raise RequestRefused(f"a request of {len(content)} bytes is too long")
    try:
        request = x509.load_pem_x509_csr(content)
        key = request.public_key()
        is_signed = request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except _UNREADABLE as error:
        hint = "write one with: macula realm join --request FILE"
        raise RequestRefused("this is no signing request", hint) from error
    if not isinstance(key, Ed25519PublicKey) or not is_signed:
        raise RequestRefused("the request is not signed by an Ed25519 key of its own")
    if len(names) != 1:
        raise RequestRefused(f"the request has {len(names)} names, not one")
    try:
        return SigningRequest(check_name(str(names[0].value)), key)
    except InvalidIdentity as error:
        raise RequestRefused(str(error)) from error
