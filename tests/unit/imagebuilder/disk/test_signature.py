"""Signatures: good for exactly one content by exactly one key; secrets stay secret."""

from __future__ import annotations

import base64
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagebuilder.disk.signature import (
    PublicKey,
    SignatureRefused,
    SigningKey,
    generate_key,
    load_public_key,
    load_signing_key,
    public_path,
    sign_file,
    verify_file,
)
from maculaos.errors import UsageError
from maculaos.host.entropy import SeededEntropy

if TYPE_CHECKING:
    from pathlib import Path

QUIET = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _key(folder: Path, seed: int = 1) -> SigningKey:
    path = folder / f"key{seed}"
    if not path.exists():
        generate_key(path, SeededEntropy(seed))
    return load_signing_key(path)


def test_secret_is_for_its_owner_alone_and_in_no_text(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "key", SeededEntropy(1))
    key = load_signing_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert key.public == public == load_public_key(public_path(tmp_path / "key"))
    assert repr(key) == "SigningKey()"
    assert public_path(tmp_path / "key").read_text() == f"{public.raw.hex()}\n"


@pytest.mark.parametrize("existing", ["key", "key.pub"])
def test_key_is_never_replaced(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        generate_key(tmp_path / "key", SeededEntropy(1))
    assert (tmp_path / existing).read_text() == "precious"


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    generate_key(tmp_path / "key", SeededEntropy(1))
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(UsageError, match=r"can be read by others; chmod 600"):
        load_signing_key(tmp_path / "key")


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no signing key in"):
        load_signing_key(tmp_path / "key")
    (tmp_path / "key").write_text("nonsense")
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(UsageError, match="is no private key"):
        load_signing_key(tmp_path / "key")
    with pytest.raises(UsageError, match="is no public key"):
        load_public_key(tmp_path / "key")


@QUIET
@given(st.binary(max_size=300))
def test_signed_file_is_good_for_its_key_only(tmp_path: Path, content: bytes) -> None:
    key, other = _key(tmp_path), _key(tmp_path, 2)
    file = tmp_path / "SHA256SUMS"
    file.write_bytes(content)
    sign_file(file, key)
    assert verify_file(file, [other.public, key.public]) == key.public
    with pytest.raises(SignatureRefused, match=f"by key {key.public.key_id}, which is not trusted"):
        verify_file(file, [other.public])


@QUIET
@given(st.data())
def test_any_change_of_file_or_signature_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    key, file = _key(tmp_path), tmp_path / "SHA256SUMS"
    file.write_bytes(b"0123456789abcdef  disk.raw\n")
    changed = data.draw(st.sampled_from([file, sign_file(file, key)]))
    content = changed.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    mask = data.draw(st.integers(1, 255))
    changed.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
    with pytest.raises(SignatureRefused):
        verify_file(file, [key.public])


def test_signature_of_one_purpose_is_good_for_no_other(tmp_path: Path) -> None:
    key, file = _key(tmp_path), tmp_path / "SHA256SUMS"
    file.write_bytes(b"content")
    text = sign_file(file, key).read_text().splitlines()
    signature = base64.b64decode(text[2].removeprefix("ed25519 "))
    with pytest.raises(SignatureRefused, match="is not good"):
        key.public.check(signature, b"content")
    key.public.check(signature, b"maculaos signature 1\ncontent")


def test_key_ids_are_those_of_the_format() -> None:
    # sha256 of 32 zero bytes.
    assert PublicKey(bytes(32)).key_id == "66687aadf862bd77"
    assert PublicKey(bytes(32)).digest.hex().startswith("66687aadf862bd77")


def test_large_files_are_not_signed(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(bytes(1024 * 1024 + 1))
    with pytest.raises(UsageError, match="larger than"):
        sign_file(tmp_path / "disk.raw", _key(tmp_path))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_takes_key_and_signature(tmp_path: Path) -> None:
    key, file = _key(tmp_path), tmp_path / "SHA256SUMS"
    file.write_bytes(b"content")
    signature = sign_file(file, key).read_text().splitlines()[2].removeprefix("ed25519 ")
    (tmp_path / "raw.sig").write_bytes(base64.b64decode(signature))
    (tmp_path / "message").write_bytes(b"maculaos signature 1\ncontent")
    argv = ["openssl", "pkeyutl", "-verify", "-rawin", "-inkey", "key1"]
    argv += ["-in", "message", "-sigfile", "raw.sig"]
    said = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in said.stdout
