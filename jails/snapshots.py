"""Snapshots and archives of a jail's writable part, where that is a folder of the host.

A snapshot is a copy beside it: ``snapshots/<label>/``. It holds folders, plain files and links;
sockets and the like are left out. Whoever calls holds the jail and has stopped its program, since
a copy of files that are being written is worth nothing. Putting one back is all or nothing: what
a crash leaves is finished by ``JailDirectory.make_data``, or thrown away by the next attempt.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from jails.runtime import JailError, is_jail_name
from maculaos.host.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.keeper.records import JailDirectory

MOST_SNAPSHOTS = 16
_UNFINISHED = ".part"


class Snapshots:
    """The snapshots of one jail."""

    def __init__(self, directory: JailDirectory) -> None:
        self._directory = directory
        self._folder = directory.path / "snapshots"

    def labels(self) -> list[str]:
        """The snapshots that there are, in the order of their labels."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name for entry in self._folder.iterdir() if is_jail_name(entry.name))

    def take(self, label: str) -> None:
        """Keep a copy of the writable part; raises ``JailError`` for a label that is taken."""
        if not is_jail_name(label):
            raise self._refused(f"{label!r} is no label", "use at most 32 of a-z, 0-9 and -")
        labels = self.labels()
        if label in labels:
            raise self._refused(f"there is a snapshot {label} already", "take another label")
        if len(labels) >= MOST_SNAPSHOTS:
            raise self._refused(f"has {MOST_SNAPSHOTS} snapshots", "delete some of them")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / _UNFINISHED
        _delete(unfinished)
        _copy(self._directory.data, unfinished)
        unfinished.rename(self._folder / label)
        sync_directory(self._folder)

    def restore(self, label: str) -> None:
        """Put a snapshot in the place of the writable part; the snapshot stays."""
        if label not in self.labels():
            raise self._refused(f"there is no snapshot {label!r}", "take one first")
        self._replace(lambda folder: _copy(self._folder / label, folder))

    def export(self, archive: Path) -> None:
        """Write the writable part to a new tar file, compressed, with mode 0600."""
        unfinished = archive.with_name(f".{archive.name}{_UNFINISHED}")
        unfinished.unlink(missing_ok=True)
        unfinished.touch(0o600)
        with tarfile.open(unfinished, "w:gz") as tar:
            tar.add(self._directory.data, arcname="data", filter=_plain_member)
        unfinished.replace(archive)
        sync_directory(archive.parent)

    def import_archive(self, archive: Path) -> None:
        """Put what ``export`` wrote in the place of the writable part.

        Raises ``JailError`` for what is no such archive, or would lead out of the folder.
        """

        def unpack(folder: Path) -> None:
            folder.mkdir(mode=0o700)
            with tarfile.open(archive, "r:gz") as tar:
                # "data" refuses devices, absolute paths and links that lead outside.
                tar.extractall(folder, filter="data")
            inner = folder / "data"
            if sorted(folder.iterdir()) != [inner] or not inner.is_dir():
                raise tarfile.TarError("it holds more than one folder named data")

        def unpack_inner(folder: Path) -> None:
            outer = folder.with_name(f"{folder.name}.outer")
            _delete(outer)
            try:
                unpack(outer)
                (outer / "data").rename(folder)
            finally:
                _delete(outer)

        try:
            self._replace(unpack_inner)
        except (tarfile.TarError, EOFError) as error:
            raise self._refused(
                f"{archive} cannot be imported: {error}", "export it anew"
            ) from error

    def _replace(self, fill: Callable[[Path], None]) -> None:
        """Fill a folder, and let it become the writable part."""
        directory = self._directory
        filled = directory.path / f"data{_UNFINISHED}"
        old = directory.path / "data.old"
        for leftover in (filled, directory.restored, old):
            _delete(leftover)
        fill(filled)
        filled.chmod(0o700)
        filled.rename(directory.restored)
        # From here on a missing data/ is known to be this one.
        if directory.data.exists():
            directory.data.rename(old)
        directory.make_data()
        sync_directory(directory.path)
        _delete(old)

    def _refused(self, what: str, hint: str) -> JailError:
        return JailError(self._directory.name, what, hint)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=_special)


def _special(folder: str, names: list[str]) -> set[str]:
    """What is neither folder, file nor link."""
    modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
    return {name for name, mode in modes.items() if not _is_plain(mode)}


def _is_plain(mode: int) -> bool:
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode)


def _plain_member(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return member if member.isdir() or member.isreg() or member.issym() or member.islnk() else None


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
