"""Laws of making realms and issuing identities."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from credentials import DAY_S
from maculaos.errors import UsageError
from maculaos.host.entropy import SeededEntropy
from maculaos.security.authority import (
    BACKDATED,
    IdentityFiles,
    Request,
    create_realm,
    identity_files,
    issue,
    open_authority,
    realm_files,
)
from maculaos.security.certificates import check_peer

NOW = 1_800_000_000.0


def make(path: Path, realm: str = "home", *, seed: int = 1) -> Path:
    create_realm(path / realm, realm, now=NOW, entropy=SeededEntropy(seed))
    return path / realm


def give(
    realm: Path, out: Path, *, now: float = NOW, seed: int = 2, **request: Any
) -> IdentityFiles:
    made = Request(**{"name": "n1", **request})
    return issue(realm, out, made, now=now, entropy=SeededEntropy(seed))


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_issued_identity_is_believed_in_its_realm(tmp_path: Path) -> None:
    files = give(make(tmp_path), tmp_path / "out")
    identity = check_peer((load(files.certificate),), load(files.realm_ca), "home", NOW)
    assert (identity.realm, identity.name) == ("home", "n1")


def test_keys_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        realm = make(tmp_path)
        files = give(realm, tmp_path / "out")
    finally:
        os.umask(before)
    assert mode(realm_files(realm).key) == mode(files.key) == 0o600
    assert mode(realm) == mode(files.key.parent) == mode(tmp_path / "out") == 0o700


def test_authority_may_sign_nodes_and_nothing_below(tmp_path: Path) -> None:
    authority = open_authority(make(tmp_path)).certificate
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)


def test_certificate_is_good_at_once_on_a_slow_clock(tmp_path: Path) -> None:
    certificate = load(give(make(tmp_path), tmp_path / "out", days=3).certificate)
    moment = datetime.fromtimestamp(NOW, UTC)
    assert certificate.not_valid_before_utc == moment - BACKDATED
    assert (certificate.not_valid_after_utc - moment).days == 3


def test_existing_identity_is_never_overwritten(tmp_path: Path) -> None:
    realm = make(tmp_path)
    files = give(realm, tmp_path / "out")
    before = files.key.read_bytes()
    with pytest.raises(UsageError, match="--renew"):
        give(realm, tmp_path / "out", seed=3)
    assert files.key.read_bytes() == before


def test_renewal_keeps_key_and_hosts_and_moves_the_end(tmp_path: Path) -> None:
    realm = make(tmp_path)
    files = give(realm, tmp_path / "out", hosts=("n1.example", "10.0.0.1"))
    key, old = files.key.read_bytes(), load(files.certificate)
    give(realm, tmp_path / "out", now=NOW + DAY_S, seed=3, is_renewal=True)
    new = load(files.certificate)
    assert files.key.read_bytes() == key
    assert new.public_key() == old.public_key()
    assert new.not_valid_after_utc > old.not_valid_after_utc
    assert new.serial_number != old.serial_number
    kind = x509.SubjectAlternativeName
    names = new.extensions.get_extension_for_class(kind).value
    assert set(names) == set(old.extensions.get_extension_for_class(kind).value)


def test_nothing_to_renew_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without --renew"):
        give(make(tmp_path), tmp_path / "out", is_renewal=True)


def test_existing_realm_is_never_overwritten(tmp_path: Path) -> None:
    realm = make(tmp_path)
    before = realm_files(realm).key.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        make(tmp_path, seed=3)
    assert realm_files(realm).key.read_bytes() == before


@pytest.mark.parametrize(
    "request_",
    [
        {"name": "Bad Name"},
        {"name": "../n1"},
        {"days": 0},
        {"days": -1},
        {"days": 4000},
        {"hosts": ("ü",)},
    ],
    ids=repr,
)
def test_bad_request_leaves_no_identity(tmp_path: Path, request_: dict[str, Any]) -> None:
    realm = make(tmp_path)
    with pytest.raises(UsageError):
        give(realm, tmp_path / "out", **request_)
    assert not (tmp_path / "out").exists()


def test_identity_cannot_outlive_its_authority(tmp_path: Path) -> None:
    realm = make(tmp_path)
    with pytest.raises(UsageError, match="beyond the realm authority's own 10"):
        give(realm, tmp_path / "out", now=NOW + 3640 * DAY_S, days=30)


def test_bad_realm_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot name a realm"):
        create_realm(tmp_path / "x", "No Realm", now=NOW, entropy=SeededEntropy(1))


def test_missing_authority_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="macula realm init"):
        give(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("which", ["certificate", "key"])
def test_damaged_authority_is_refused(tmp_path: Path, which: str) -> None:
    realm = make(tmp_path)
    getattr(realm_files(realm), which).write_text("damaged")
    with pytest.raises(UsageError, match="cannot be read"):
        open_authority(realm)


def test_authority_with_another_realms_key_is_refused(tmp_path: Path) -> None:
    one, other = make(tmp_path), make(tmp_path, "work", seed=3)
    realm_files(one).key.write_bytes(realm_files(other).key.read_bytes())
    with pytest.raises(UsageError, match="is not the key of"):
        open_authority(one)


def test_each_node_has_a_key_of_its_own(tmp_path: Path) -> None:
    realm = make(tmp_path)
    one, two = (
        load(give(realm, tmp_path / "out", name=f"n{seed}", seed=seed).certificate).public_key()
        for seed in (5, 6)
    )
    assert one != two
    assert isinstance(one, Ed25519PublicKey)


def test_layout_is_one_folder_per_node() -> None:
    files = identity_files(Path("/i"), "n1")
    assert [str(path) for path in (files.certificate, files.key, files.realm_ca)] == [
        "/i/n1/node.crt",
        "/i/n1/node.key",
        "/i/n1/realm.crt",
    ]
