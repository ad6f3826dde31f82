"""Overlays: bytes as they are, modes by rule, and nothing that tools leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.digests import of_folder
from imagebuilder.entries import Kind
from imagebuilder.overlays import FILE_BYTES_MAX, mode_of, read_overlay
from imagebuilder.packages.store import ContentStore
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("path", "mode"),
    [
        ("usr/local/etc/rc.d/reconciler", 0o555),
        ("usr/local/sbin/maculaos-update", 0o555),
        ("usr/local/libexec/macula/probe", 0o555),
        ("usr/local/bin/x", 0o555),
        ("etc/rc.conf", 0o644),
        ("etc/rc.d.conf", 0o644),
        ("usr/local/lib/macula/appliance/cli.py", 0o644),
        ("boot/sbin", 0o644),
    ],
)
def test_modes_follow_the_folder(path: str, mode: int) -> None:
    assert mode_of(path) == mode


def test_bytes_links_and_owners_are_read_and_leavings_are_not(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a/__pycache__").mkdir(parents=True)
    (tree / "a/file").write_bytes(b"\0\r\n")
    (tree / "a/file").chmod(0o600)
    (tree / "a/link").symlink_to("file")
    for name in ("__pycache__/x", "x.pyc", ".file.swp", "file~", ".gitkeep"):
        (tree / "a" / name).write_text("left")
    entries = read_overlay(tree, ContentStore(tmp_path / "store"))
    assert [(entry.path, entry.kind, entry.mode) for entry in entries] == [
        ("a/file", Kind.FILE, 0o644),
        ("a/link", Kind.SYMLINK, 0o755),
    ]
    assert {(entry.owner, entry.group) for entry in entries} == {("root", "wheel")}
    assert entries[0].source is not None
    assert entries[0].source.read_bytes() == b"\0\r\n"
    assert entries[1].target == "file"


def test_what_is_no_small_file_is_told(tmp_path: Path) -> None:
    store = ContentStore(tmp_path / "store")
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "large").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(UsageError, match="large is no file of at most"):
        read_overlay(tree, store)
    with pytest.raises(UsageError, match="gone is no folder"):
        read_overlay(tmp_path / "gone", store)


def test_the_digest_tells_content_names_and_links_apart(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    seen = {of_folder(tmp_path)}
    (tmp_path / "one").write_text("y")
    seen.add(of_folder(tmp_path))
    (tmp_path / "one").rename(tmp_path / "two")
    seen.add(of_folder(tmp_path))
    (tmp_path / "two").unlink()
    (tmp_path / "two").symlink_to("y")
    seen.add(of_folder(tmp_path))
    assert len(seen) == 4
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/x.pyc").write_text("z")
    assert of_folder(tmp_path) in seen
