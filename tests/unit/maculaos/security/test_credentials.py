"""Laws of a node's own credentials: each fault is one line with the next move."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from credentials import DAY_S, RealmFolder, make_realm
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.security.authority import realm_files
from maculaos.security.credentials import Credentials, load_credentials, read_certificate

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.settings import CredentialSettings


@pytest.fixture
def realm(tmp_path: Path) -> RealmFolder:
    made = make_realm(tmp_path)
    made.issue("n1")
    return made


def load(settings: CredentialSettings, *, name: str = "n1", realm: str = "home") -> Credentials:
    return load_credentials(settings, name, realm, SystemClock().now())


def complaint(settings: CredentialSettings, *, name: str = "n1", realm: str = "home") -> UsageError:
    with pytest.raises(UsageError) as refused:
        load(settings, name=name, realm=realm)
    assert refused.value.hint
    assert "\n" not in str(refused.value)
    return refused.value


def test_good_credentials_are_loaded(realm: RealmFolder) -> None:
    loaded = load(realm.settings_of("n1"))
    assert (loaded.identity.name, loaded.identity.realm) == ("n1", "home")


def test_key_never_appears_in_print(realm: RealmFolder) -> None:
    assert "key" not in repr(load(realm.settings_of("n1")))


@pytest.mark.parametrize("field", ["certificate", "key", "realm_ca"])
def test_missing_file_is_named(realm: RealmFolder, field: str) -> None:
    gone = realm.path / "gone.pem"
    error = complaint(replace(realm.settings_of("n1"), **{field: gone}))
    assert str(gone) in error.what
    assert "does not exist" in error.what


@pytest.mark.parametrize("field", ["certificate", "key", "realm_ca"])
def test_folder_in_place_of_a_file_is_unreadable(realm: RealmFolder, field: str) -> None:
    error = complaint(replace(realm.settings_of("n1"), **{field: realm.path}))
    assert "cannot be read" in error.what


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_key_that_others_may_use_is_refused(realm: RealmFolder, mode: int) -> None:
    settings = realm.settings_of("n1")
    settings.key.chmod(mode)
    error = complaint(settings)
    assert f"{mode:04o}" in error.what
    assert error.hint == f"chmod 600 {settings.key}"


def test_key_of_another_node_is_refused(realm: RealmFolder) -> None:
    other = realm.issue("n2")
    error = complaint(replace(realm.settings_of("n1"), key=other.key))
    assert "is not the key of" in error.what


def test_expired_certificate_says_when_and_how_to_renew(realm: RealmFolder) -> None:
    realm.issue("n3", now=SystemClock().now() - 3 * DAY_S, days=1)
    error = complaint(realm.settings_of("n3"), name="n3")
    assert "expired at" in error.what
    assert "--renew" in error.hint


def test_certificate_from_the_future_blames_the_clock(realm: RealmFolder) -> None:
    realm.issue("n3", now=SystemClock().now() + 3 * DAY_S, days=1)
    assert "clock" in complaint(realm.settings_of("n3"), name="n3").hint


def test_other_realm_is_refused(realm: RealmFolder) -> None:
    assert "realm home, not work" in complaint(realm.settings_of("n1"), realm="work").what


def test_other_name_is_refused(realm: RealmFolder) -> None:
    assert "belongs to the node n1, not n2" in complaint(realm.settings_of("n1"), name="n2").what


def test_foreign_authority_is_refused(realm: RealmFolder, tmp_path: Path) -> None:
    foreign = realm_files(make_realm(tmp_path / "other").authority).certificate
    error = complaint(replace(realm.settings_of("n1"), realm_ca=foreign))
    assert "not signed by this realm's authority" in error.what


def test_node_certificate_is_no_authority(realm: RealmFolder) -> None:
    settings = realm.settings_of("n1")
    error = complaint(replace(settings, realm_ca=settings.certificate))
    assert "not an authority's certificate" in error.what


def test_key_file_in_place_of_a_certificate_is_refused_without_showing_it(
    realm: RealmFolder,
) -> None:
    settings = realm.settings_of("n1")
    error = complaint(replace(settings, certificate=settings.key))
    assert "holds a private key" in error.what
    secret = settings.key.read_text().splitlines()[1]
    assert secret not in str(error)


@pytest.mark.parametrize("field", ["certificate", "key", "realm_ca"])
def test_file_of_something_else_is_refused(realm: RealmFolder, field: str) -> None:
    junk = realm.path / "junk.pem"
    junk.write_bytes(os.urandom(100))
    junk.chmod(0o600)
    assert str(junk) in complaint(replace(realm.settings_of("n1"), **{field: junk})).what


def test_certificate_in_place_of_the_key_is_refused(realm: RealmFolder) -> None:
    settings = realm.settings_of("n1")
    settings.certificate.chmod(0o600)
    assert "no private key" in complaint(replace(settings, key=settings.certificate)).what


def test_certificate_file_can_be_read_alone(realm: RealmFolder) -> None:
    certificate = read_certificate(realm.settings_of("n1").certificate)
    assert certificate == load(realm.settings_of("n1")).certificate
