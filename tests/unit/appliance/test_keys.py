"""Keys: a folder of files with 64 digits each; a bad file is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from appliance.keys import NotSigned, key_id_of, load_keyring
from maculaos.errors import UsageError
from unit.appliance.bundleyard import KEY, STRANGER, public_of

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_keys_of_several_folders_are_trusted_and_a_missing_folder_is_empty(tmp_path: Path) -> None:
    shipped = put(tmp_path / "shipped", "maker", public_of(KEY).hex() + "\n")
    own = put(tmp_path / "own", "site", public_of(STRANGER).hex())
    keyring = load_keyring([shipped, own, tmp_path / "none"], [tmp_path / "none"])
    for key in (KEY, STRANGER):
        keyring.check(key_id_of(public_of(key)), key.sign(b"text"), b"text")


def test_key_that_is_revoked_anywhere_is_trusted_nowhere(tmp_path: Path) -> None:
    shipped = put(tmp_path / "shipped", "maker", public_of(KEY).hex())
    revoked = put(tmp_path / "revoked", "maker", public_of(KEY).hex())
    keyring = load_keyring([shipped], [revoked])
    with pytest.raises(NotSigned, match="revoked"):
        keyring.check(key_id_of(public_of(KEY)), KEY.sign(b"text"), b"text")


def test_signature_of_another_key_is_refused(tmp_path: Path) -> None:
    keyring = load_keyring([put(tmp_path / "keys", "maker", public_of(KEY).hex())], [])
    with pytest.raises(NotSigned, match="changed"):
        keyring.check(key_id_of(public_of(KEY)), STRANGER.sign(b"text"), b"text")


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "00" * 33, "\u00e9" * 64])
def test_file_that_is_no_key_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="site is no public key"):
        load_keyring([put(tmp_path / "keys", "site", text)], [])
