"""Snapshots of the writable part: all or nothing, whatever is in it and wherever it breaks off."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from jails.keeper.records import JailDirectory
from jails.runtime import JailError
from jails.snapshots import MOST_SNAPSHOTS, Snapshots

if TYPE_CHECKING:
    from pathlib import Path


class BrokenOff(BaseException):
    """The process died here."""


@pytest.fixture
def directory(tmp_path: Path) -> JailDirectory:
    path = tmp_path / "n1"
    path.mkdir()
    directory = JailDirectory(path)
    directory.claim()
    (directory.data / "file").write_bytes(b"old")
    return directory


def content(directory: JailDirectory) -> bytes:
    return (directory.data / "file").read_bytes()


def test_links_are_kept_as_links_and_sockets_left_out(
    directory: JailDirectory, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    (directory.data / "link").symlink_to(outside)
    os.mkfifo(directory.data / "pipe")
    here = os.open(directory.data, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/control")
            snapshots = Snapshots(directory)
            snapshots.take("a")
            snapshots.export(tmp_path / "a.tar.gz")
    finally:
        os.close(here)
    kept = directory.path / "snapshots" / "a"
    assert sorted(entry.name for entry in kept.iterdir()) == ["file", "link"]
    assert (kept / "link").is_symlink()
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        assert sorted(tar.getnames()) == ["data", "data/file", "data/link"]


def test_an_archive_that_leads_outside_is_refused(directory: JailDirectory, tmp_path: Path) -> None:
    for name in ("../up", "/etc/up", "other"):
        with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as tar:
            tar.addfile(tarfile.TarInfo(name))
        with pytest.raises(JailError, match="cannot be imported"):
            Snapshots(directory).import_archive(tmp_path / "bad.tar.gz")
    assert content(directory) == b"old"
    assert not (tmp_path / "up").exists()


def test_an_archive_of_a_jail_with_a_link_outside_is_refused(
    directory: JailDirectory, tmp_path: Path
) -> None:
    (directory.data / "link").symlink_to("/etc/passwd")
    snapshots = Snapshots(directory)
    snapshots.export(tmp_path / "a.tar.gz")
    with pytest.raises(JailError, match="cannot be imported"):
        snapshots.import_archive(tmp_path / "a.tar.gz")
    assert content(directory) == b"old"


def test_a_link_out_of_the_writable_part_is_outside_even_if_it_stays_in_the_archive(
    directory: JailDirectory, tmp_path: Path
) -> None:
    (directory.data / "link").symlink_to("../record.json")
    snapshots = Snapshots(directory)
    snapshots.export(tmp_path / "a.tar.gz")
    with pytest.raises(JailError, match="cannot be imported"):
        snapshots.import_archive(tmp_path / "a.tar.gz")
    assert content(directory) == b"old"


def test_hard_links_and_links_within_come_back_as_such(
    directory: JailDirectory, tmp_path: Path
) -> None:
    (directory.data / "deep").mkdir()
    (directory.data / "deep/same").hardlink_to(directory.data / "file")
    (directory.data / "deep/link").symlink_to("../file")
    snapshots = Snapshots(directory)
    snapshots.export(tmp_path / "a.tar.gz")
    snapshots.import_archive(tmp_path / "a.tar.gz")
    assert (directory.data / "deep/same").samefile(directory.data / "file")
    assert (directory.data / "deep/link").readlink().as_posix() == "../file"
    assert content(directory) == b"old"


def test_an_archive_without_anything_in_it_is_refused(
    directory: JailDirectory, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(JailError, match="does not begin with a folder named data"):
        Snapshots(directory).import_archive(tmp_path / "empty.tar.gz")
    assert content(directory) == b"old"


def test_there_is_a_bound(directory: JailDirectory) -> None:
    snapshots = Snapshots(directory)
    for number in range(MOST_SNAPSHOTS):
        snapshots.take(f"s{number}")
    with pytest.raises(JailError, match=f"has {MOST_SNAPSHOTS} snapshots"):
        snapshots.take("more")


@pytest.mark.parametrize("after", range(6))
def test_a_restore_that_breaks_off_leaves_the_old_or_the_new(
    directory: JailDirectory, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off before each renaming and deleting; then anybody makes the writable part again."""
    snapshots = Snapshots(directory)
    snapshots.take("a")
    (directory.data / "file").write_bytes(b"new")
    steps = iter(range(after))

    rename, rmtree = os.rename, shutil.rmtree

    def renamed(source: Path, target: Path) -> None:
        if next(steps, None) is None:
            raise BrokenOff
        rename(source, target)

    def deleted(folder: Path) -> None:
        if next(steps, None) is None:
            # Half of it.
            (folder / "file").unlink()
            raise BrokenOff
        rmtree(folder)

    with monkeypatch.context() as patched, suppress(BrokenOff):
        patched.setattr(os, "rename", renamed)
        patched.setattr(shutil, "rmtree", deleted)
        snapshots.restore("a")
    directory.make_data()
    assert content(directory) in (b"old", b"new")
    snapshots.restore("a")
    assert content(directory) == b"old"
    left = sorted(entry.name for entry in directory.path.iterdir())
    assert left == [".macula-jail", "data", "snapshots"]
