"""Laws of revocation: a list counts if the authority signed it and it is not older than another."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from credentials import DAY_S, RealmFolder, make_realm
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.security.authority import open_authority, realm_files
from maculaos.security.certificates import CertificateRevoked, check_peer
from maculaos.security.credentials import load_credentials
from maculaos.security.ledger import Ledger
from maculaos.security.revocations import (
    NOTHING_REVOKED,
    RevocationList,
    RevocationListRefused,
    newer,
    read_revocation_list,
)
from maculaos.security.revoker import renew_list, revoke
from maculaos.security.rotation import LiveCredentials

if TYPE_CHECKING:
    from pathlib import Path

# Ahead of the certificates that the tests below issue, however long those before them take.
NOW = SystemClock().now() + 3600.0


@pytest.fixture
def realm(tmp_path: Path) -> RealmFolder:
    made = make_realm(tmp_path)
    for node in ("n1", "n2"):
        made.issue(node)
    return made


def listed(realm: RealmFolder) -> RevocationList:
    files = realm_files(realm.authority)
    return read_revocation_list(files.revocations.read_bytes(), authority(realm))


def authority(realm: RealmFolder) -> x509.Certificate:
    return open_authority(realm.authority).certificate


def serial(realm: RealmFolder, node: str) -> int:
    return realm.credentials(node).certificate.serial_number


def test_revoked_peer_is_refused_and_others_are_not(realm: RealmFolder) -> None:
    done = revoke(realm.authority, "n1", now=NOW)
    assert done.serials == (serial(realm, "n1"),)
    ours, held = authority(realm), listed(realm)
    with pytest.raises(CertificateRevoked):
        check_peer((realm.credentials("n1").certificate,), ours, "home", NOW, held)
    check_peer((realm.credentials("n2").certificate,), ours, "home", NOW, held)


def test_every_certificate_of_a_node_is_taken_back(realm: RealmFolder) -> None:
    first = serial(realm, "n1")
    realm.renew("n1")
    second = serial(realm, "n1")
    assert set(revoke(realm.authority, "n1", now=NOW).serials) == {first, second}


def test_one_serial_takes_back_its_key_and_no_other(realm: RealmFolder) -> None:
    first = serial(realm, "n1")
    realm.renew("n1")
    done = revoke(realm.authority, f"{first:x}", now=NOW)
    assert set(done.serials) == {first, serial(realm, "n1")}


def test_serial_that_is_not_on_record_is_believed_in_full_only(realm: RealmFolder) -> None:
    assert revoke(realm.authority, "0x" + "ab" * 19, now=NOW).serials == (int("ab" * 19, 16),)
    for word in ("n9", "beef", "", "no such", "0" * 20, "f" * 60):
        with pytest.raises(UsageError, match="on record"):
            revoke(realm.authority, word, now=NOW)


def test_numbers_only_grow_even_when_the_list_is_lost(realm: RealmFolder) -> None:
    first = revoke(realm.authority, "n1", now=NOW)
    second = revoke(realm.authority, "n2", now=NOW - 1000)
    assert second.number > first.number
    assert listed(realm).serials == {serial(realm, "n1"), serial(realm, "n2")}
    realm_files(realm.authority).revocations.unlink()
    assert renew_list(realm.authority, now=NOW + 100).number > second.number


def test_list_of_another_authority_is_refused(realm: RealmFolder, tmp_path: Path) -> None:
    stranger = make_realm(tmp_path / "else")
    stranger.issue("n1")
    revoke(stranger.authority, "n1", now=NOW)
    content = realm_files(stranger.authority).revocations.read_bytes()
    with pytest.raises(RevocationListRefused, match="not signed"):
        read_revocation_list(content, authority(realm))


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN X509 CRL-----\n"])
def test_what_is_no_list_is_refused(realm: RealmFolder, content: bytes) -> None:
    with pytest.raises(RevocationListRefused):
        read_revocation_list(content, authority(realm))


def test_changed_list_is_refused(realm: RealmFolder) -> None:
    revoke(realm.authority, "n1", now=NOW)
    path = realm_files(realm.authority).revocations
    der = bytearray(x509.load_pem_x509_crl(path.read_bytes()).public_bytes(Encoding.DER))
    at = der.index(serial(realm, "n1").to_bytes(19).lstrip(b"\0"))
    der[at + 5] ^= 1
    changed = x509.load_der_x509_crl(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(RevocationListRefused, match="not signed"):
        read_revocation_list(changed, authority(realm))


def signed(realm: RealmFolder, *extensions: tuple[x509.ExtensionType, bool]) -> bytes:
    ours = open_authority(realm.authority)
    moment = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ours.certificate.subject)
        .last_update(moment)
        .next_update(datetime.fromtimestamp(NOW + 60, UTC))
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(ours.key, None).public_bytes(Encoding.PEM)


def test_list_without_a_number_or_for_a_part_is_refused(realm: RealmFolder) -> None:
    ours = authority(realm)
    number, delta = (x509.CRLNumber(7), False), (x509.DeltaCRLIndicator(3), True)
    assert read_revocation_list(signed(realm, number), ours).number == 7
    with pytest.raises(RevocationListRefused, match="no number"):
        read_revocation_list(signed(realm), ours)
    with pytest.raises(RevocationListRefused, match="a part"):
        read_revocation_list(signed(realm, number, delta), ours)


def test_older_list_never_replaces_a_newer_one() -> None:
    old, new = RevocationList(1, frozenset({1}), NOW), RevocationList(2, frozenset(), NOW)
    assert newer(NOTHING_REVOKED, old) is old
    assert newer(old, new) is new
    assert newer(new, new) is new
    with pytest.raises(RevocationListRefused, match="older"):
        newer(new, old)


# A node and its files.


def watching(realm: RealmFolder, node: str = "n2") -> tuple[LiveCredentials, Path]:
    """A node that watches the list, and where it lies."""
    path = realm.path / "copied.crl"
    if not path.exists():
        copy(realm, path)
    settings = realm.node_settings(node)
    return LiveCredentials(realm.with_revocations(settings, path), NOW), path


def copy(realm: RealmFolder, path: Path) -> bytes:
    """Sign the list anew and bring it to the node, as a tool would that replaces files."""
    renew_list(realm.authority, now=NOW)
    content = realm_files(realm.authority).revocations.read_bytes()
    put(path, content)
    return content


def put(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_bytes(content)
    os.replace(fresh, path)


def test_named_list_that_is_missing_keeps_a_node_from_starting(realm: RealmFolder) -> None:
    settings = realm.with_revocations(realm.node_settings("n2"), realm.path / "none.crl")
    with pytest.raises(UsageError, match=r"none\.crl"):
        LiveCredentials(settings, NOW)


def test_revoked_node_does_not_start(realm: RealmFolder) -> None:
    revoke(realm.authority, "n1", now=NOW)
    with pytest.raises(UsageError, match="revoked"):
        watching(realm, "n1")


def test_changed_list_is_taken_once(realm: RealmFolder) -> None:
    live, path = watching(realm)
    assert live.poll() is None
    revoke(realm.authority, "n1", now=NOW)
    copy(realm, path)
    changed = live.poll()
    assert changed is live.current
    assert live.current.revoked.is_revoked(serial(realm, "n1"))
    assert live.poll() is None


def test_older_or_broken_list_is_told_once_and_what_is_held_stays(realm: RealmFolder) -> None:
    live, path = watching(realm)
    older = path.read_bytes()
    revoke(realm.authority, "n1", now=NOW)
    copy(realm, path)
    live.poll()
    for content, word in ((older, "older"), (b"nonsense", "cannot be read")):
        put(path, content)
        with pytest.raises(UsageError, match=word):
            live.poll()
        assert live.poll() is None
        with pytest.raises(UsageError, match=word):
            live.reload(NOW)
        assert live.current.revoked.is_revoked(serial(realm, "n1"))
    path.unlink()
    with pytest.raises(UsageError):
        live.poll()


def test_overdue_list_is_told_once_and_still_counts(realm: RealmFolder) -> None:
    revoke(realm.authority, "n1", now=NOW)
    live, _ = watching(realm)
    assert not live.tells_overdue(NOW + 29 * DAY_S)
    assert live.tells_overdue(NOW + 31 * DAY_S)
    assert not live.tells_overdue(NOW + 32 * DAY_S)
    assert live.current.revoked.is_revoked(serial(realm, "n1"))


def test_renewed_certificate_is_taken_on_reload(realm: RealmFolder) -> None:
    live, _ = watching(realm)
    before = live.current
    realm.renew("n2")
    after = live.reload(SystemClock().now())
    assert after.identity == before.identity
    assert after.certificate.serial_number != before.certificate.serial_number
    assert live.current is after


def test_list_that_is_named_for_the_first_time_is_taken_on_reload_and_watched(
    realm: RealmFolder,
) -> None:
    plain = realm.node_settings("n2")
    realm.credentials("n2")
    live, path = LiveCredentials(plain, NOW), realm.path / "copied.crl"
    copy(realm, path)
    live.reload(NOW, realm.with_revocations(plain, path))
    revoke(realm.authority, "n1", now=NOW)
    copy(realm, path)
    live.poll()
    assert live.current.revoked.is_revoked(serial(realm, "n1"))


def test_list_that_is_named_no_more_is_kept_until_a_restart(realm: RealmFolder) -> None:
    revoke(realm.authority, "n1", now=NOW)
    live, path = watching(realm)
    with pytest.raises(UsageError, match="cannot be left out"):
        live.reload(NOW, realm.node_settings("n2"))
    assert live.current.revoked.is_revoked(serial(realm, "n1"))
    with pytest.raises(UsageError, match="elsewhere"):
        live.reload(NOW, realm.with_revocations(realm.node_settings("n2"), path / "elsewhere"))
    revoke(realm.authority, "n2", now=NOW)
    copy(realm, path)
    assert live.poll() is live.current


def test_another_key_is_refused_on_reload(realm: RealmFolder) -> None:
    live, _ = watching(realm)
    before = live.current
    files = realm.settings_of("n2")
    files.key.unlink()
    files.certificate.unlink()
    realm.issue("n2")
    with pytest.raises(UsageError, match="another key"):
        live.reload(NOW)
    assert live.current is before


def test_expired_record_is_forgotten_and_cannot_be_named(realm: RealmFolder) -> None:
    ledger = Ledger(realm.authority)
    ledger.forget_expired(NOW)
    assert len(ledger.certificates_of("n1")) == 1
    ledger.forget_expired(NOW + 31 * DAY_S)
    assert ledger.certificates_of("n1") == ()


def test_credentials_carry_the_list(realm: RealmFolder) -> None:
    _, path = watching(realm)
    settings = realm.with_revocations(realm.node_settings("n2"), path).credentials
    assert load_credentials(settings, "n2", "home", NOW).revoked == listed(realm)
