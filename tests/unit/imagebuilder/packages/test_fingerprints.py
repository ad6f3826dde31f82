"""Whose catalogue it is: only a trusted key that truly signed, and never a revoked one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from imagebuilder.packages.fingerprints import (
    Seal,
    UntrustedRepository,
    check_seals,
    parse_fingerprint,
    read_trust,
    trust_of,
)
from maculaos.errors import UsageError
from smallrepository import SmallKey

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"a catalogue"
SUM = hashlib.sha256(CONTENT).hexdigest()
DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.fixture(scope="module")
def key() -> SmallKey:
    return SmallKey()


@pytest.fixture(scope="module")
def stranger() -> SmallKey:
    return SmallKey()


def seal(key: SmallKey, content: bytes = CONTENT) -> Seal:
    return Seal("data", key.sign(content), key.public)


def test_trusted_key_vouches(key: SmallKey) -> None:
    trust = trust_of([key.fingerprint.upper()])
    assert check_seals(SUM, [seal(key)], trust, "data") == key.fingerprint


def test_one_trusted_key_among_strangers_is_enough(key: SmallKey, stranger: SmallKey) -> None:
    trust = trust_of([key.fingerprint])
    assert check_seals(SUM, [seal(stranger), seal(key)], trust, "data") == key.fingerprint


def test_signature_with_a_byte_more_is_accepted_as_pkg_writes_it(key: SmallKey) -> None:
    longer = Seal("data", key.sign(CONTENT) + b"\0", key.public)
    assert check_seals(SUM, [longer], trust_of([key.fingerprint]), "data")


def test_raw_digest_instead_of_its_digits_is_refused(key: SmallKey) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding

    direct = key.key.sign(CONTENT, padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(UntrustedRepository, match="wrong"):
        check_seals(SUM, [Seal("d", direct, key.public)], trust_of([key.fingerprint]), "data")


def test_signature_of_other_content_is_refused(key: SmallKey) -> None:
    with pytest.raises(UntrustedRepository, match="is wrong"):
        check_seals(SUM, [seal(key, b"another")], trust_of([key.fingerprint]), "data")


def test_stranger_is_refused_and_named(key: SmallKey, stranger: SmallKey) -> None:
    with pytest.raises(UntrustedRepository, match=stranger.fingerprint):
        check_seals(SUM, [seal(stranger)], trust_of([key.fingerprint]), "data")


def test_stranger_with_a_trusted_signature_is_refused(key: SmallKey, stranger: SmallKey) -> None:
    mixed = Seal("data", stranger.sign(CONTENT), key.public)
    with pytest.raises(UntrustedRepository, match="is wrong"):
        check_seals(SUM, [mixed], trust_of([key.fingerprint]), "data")


def test_revoked_key_refuses_even_beside_a_trusted_one(key: SmallKey, stranger: SmallKey) -> None:
    trust = trust_of([key.fingerprint, stranger.fingerprint], [stranger.fingerprint])
    with pytest.raises(UntrustedRepository, match="revoked"):
        check_seals(SUM, [seal(key), seal(stranger)], trust, "data")


def test_unsigned_is_refused(key: SmallKey) -> None:
    with pytest.raises(UntrustedRepository, match="not signed"):
        check_seals(SUM, [], trust_of([key.fingerprint]), "data")


def test_ecdsa_with_its_header_vouches() -> None:
    own = ec.generate_private_key(ec.SECP256R1())
    public = own.public_key().public_bytes(DER, SPKI)
    signature = b"$PKGSIGN:ecdsa$" + own.sign(SUM.encode(), ec.ECDSA(hashes.SHA256()))
    fingerprint = hashlib.sha256(public).hexdigest()
    sealed = Seal("data", signature, b"$PKGSIGN:ecdsa$" + public)
    assert check_seals(SUM, [sealed], trust_of([fingerprint]), "data") == fingerprint


def test_other_types_are_refused_by_name() -> None:
    own = ed25519.Ed25519PrivateKey.generate()
    public = own.public_key().public_bytes(DER, SPKI)
    sealed = Seal("data", b"$PKGSIGN:eddsa$" + own.sign(SUM.encode()), public)
    trust = trust_of([hashlib.sha256(public).hexdigest()])
    with pytest.raises(UntrustedRepository, match="type eddsa"):
        check_seals(SUM, [sealed], trust, "data")


def test_short_rsa_key_is_refused() -> None:
    small = SmallKey(bits=1024)
    with pytest.raises(UntrustedRepository, match="2048"):
        check_seals(SUM, [seal(small)], trust_of([small.fingerprint]), "data")


def test_trust_is_read_from_folders_as_freebsd_lays_them_out(tmp_path: Path) -> None:
    (tmp_path / "trusted").mkdir()
    (tmp_path / "revoked").mkdir()
    (tmp_path / "trusted/one").write_text(f'function: "sha256"\nfingerprint: "{"a" * 64}"\n')
    (tmp_path / "revoked/two").write_text(f'function = sha256; fingerprint = "{"b" * 64}";')
    assert read_trust(tmp_path) == trust_of(["a" * 64], ["b" * 64])


@pytest.mark.parametrize("text", ["function: md5", "fingerprint: abc", ""])
def test_fingerprint_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="sha256"):
        parse_fingerprint(text, "one")


def test_fingerprint_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no fingerprint"):
        trust_of(["abc"])


def test_folder_without_keys_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="/usr/share/keys"):
        read_trust(tmp_path)
