"""Encrypted files that are kept: by what they hold, whole, and no longer than they are needed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from reconciler.secrets.sealed import SealedFiles

if TYPE_CHECKING:
    from pathlib import Path


def by_digest(*contents: bytes) -> dict[str, bytes]:
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def test_what_is_kept_is_read_until_nobody_needs_it(tmp_path: Path) -> None:
    sealed, files = SealedFiles(tmp_path / "sealed"), by_digest(b"a", b"b")
    one, two = files
    assert sealed.read(one) is None
    sealed.keep_only([one])
    sealed.keep(files)
    sealed.keep({})
    assert [sealed.read(digest) for digest in (one, two)] == [b"a", b"b"]
    assert (tmp_path / "sealed").stat().st_mode & 0o777 == 0o700
    sealed.keep_only([two])
    assert [sealed.read(digest) for digest in (one, two)] == [None, b"b"]


def test_a_damaged_file_is_as_good_as_none_and_kept_anew(tmp_path: Path) -> None:
    sealed, files = SealedFiles(tmp_path), by_digest(b"a")
    (digest,) = files
    sealed.keep(files)
    (tmp_path / digest).write_bytes(b"other")
    assert sealed.read(digest) is None
    sealed.keep(files)
    assert sealed.read(digest) == b"a"


def test_only_a_digest_names_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    sealed = SealedFiles(tmp_path / "sealed")
    assert sealed.read("../x") is None
    assert sealed.read("") is None
