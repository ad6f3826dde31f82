"""Laws of signing requests: a name and a key that proves itself, nothing else."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from maculaos.security.requests import (
    MAX_REQUEST_SIZE,
    RequestRefused,
    new_request,
    read_request,
)

KEY = Ed25519PrivateKey.generate()


def request_of(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, *names: str) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    hashing = None if isinstance(key, Ed25519PrivateKey) else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.sign(key, hashing).public_bytes(Encoding.PEM)


def test_request_says_name_and_key_and_holds_no_secret() -> None:
    content = new_request("n1", KEY)
    read = read_request(content)
    assert (read.name, read.key) == ("n1", KEY.public_key())
    assert b"PRIVATE" not in content


def test_changed_request_is_refused() -> None:
    der = bytearray(x509.load_pem_x509_csr(new_request("n1", KEY)).public_bytes(Encoding.DER))
    der[der.index(b"n1") + 1] = ord("2")
    changed = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(RequestRefused, match="of its own"):
        read_request(changed)


@pytest.mark.parametrize("names", [(), ("n1", "n2"), ("N1",), ("../n1",), ("a" * 40,)])
def test_request_names_one_node(names: tuple[str, ...]) -> None:
    with pytest.raises(RequestRefused):
        read_request(request_of(KEY, *names))


def test_other_kinds_of_keys_are_refused() -> None:
    with pytest.raises(RequestRefused, match="Ed25519"):
        read_request(request_of(ec.generate_private_key(ec.SECP256R1()), "n1"))


@pytest.mark.parametrize("content", [b"", b"nonsense", bytes(MAX_REQUEST_SIZE + 1)])
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(RequestRefused):
        read_request(content)
