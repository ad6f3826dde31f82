"""Snapshots and archives of a jail's writable part, where that is a folder of the host.

A snapshot is a copy beside it: ``snapshots/<label>/``. Archives are the same for every way of
keeping snapshots, and so is what a label may be. A snapshot holds folders, plain files and links;
sockets and the like are left out. Whoever calls holds the jail and has stopped its program, since
a copy of files that are being written is worth nothing. Putting one back is all or nothing: what
a crash leaves is finished by ``JailDirectory.make_data``, or thrown away by the next attempt.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jails.runtime import JailError, is_jail_name
from maculaos.host.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from jails.keeper.records import JailDirectory

MOST_SNAPSHOTS = 16
# The one folder in an archive.
_TOP = "data"
_UNFINISHED = ".part"


class Snapshots:
    """The snapshots of one jail."""

    def __init__(self, directory: JailDirectory) -> None:
        self._directory = directory
        self._folder = directory.snapshots

    def labels(self) -> list[str]:
        """The snapshots that there are, in the order of their labels."""
        if not self._folder.is_dir():
            return []
        return sorted(entry.name for entry in self._folder.iterdir() if is_jail_name(entry.name))

    def take(self, label: str) -> None:
        """Keep a copy of the writable part; raises ``JailError`` for a label that is taken."""
        refuse_label(self._directory.name, label, self.labels())
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / _UNFINISHED
        _delete(unfinished)
        _copy(self._directory.data, unfinished)
        unfinished.rename(self._folder / label)
        sync_directory(self._folder)

    def restore(self, label: str) -> None:
        """Put a snapshot in the place of the writable part; the snapshot stays."""
        if label not in self.labels():
            what = f"there is no snapshot {label!r}"
            raise JailError(self._directory.name, what, "take one first")
        self._replace(lambda folder: _copy(self._folder / label, folder))

    def export(self, archive: Path) -> None:
        """Write the writable part to a new tar file, compressed, with mode 0600."""
        write_archive(self._directory.data, archive)

    def import_archive(self, archive: Path) -> None:
        """Put what ``export`` wrote in the place of the writable part.

        Raises ``JailError`` for what is no such archive, or would lead out of the folder.
        """

        self._replace(lambda folder: _unpack_new(self._directory.name, archive, folder))

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


def refuse_label(jail: str, label: str, labels: Collection[str]) -> None:
    """Raise ``JailError`` if no snapshot can be taken under ``label`` beside ``labels``."""
    if not is_jail_name(label):
        raise JailError(jail, f"{label!r} is no label", "use at most 32 of a-z, 0-9 and -")
    if label in labels:
        raise JailError(jail, f"there is a snapshot {label} already", "take another label")
    if len(labels) >= MOST_SNAPSHOTS:
        raise JailError(jail, f"has {MOST_SNAPSHOTS} snapshots", "delete some of them")


def write_archive(data: Path, archive: Path) -> None:
    """Write the folder ``data`` to a new tar file, compressed, with mode 0600."""
    unfinished = archive.with_name(f".{archive.name}{_UNFINISHED}")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(0o600)
    with tarfile.open(unfinished, "w:gz") as tar:
        tar.add(data, arcname=_TOP, filter=_plain_member)
    unfinished.replace(archive)
    sync_directory(archive.parent)


def unpack(jail: str, archive: Path, folder: Path) -> None:
    """Fill the empty ``folder`` with what ``write_archive`` wrote.

    Raises ``JailError`` for what is no such archive, or would lead out of the folder.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            first = tar.next()
            if first is None or first.name != _TOP or not first.isdir():
                raise tarfile.ReadError("it does not begin with a folder named data")
            tar.extractall(folder, filter=_inner_member)  # noqa: S202  the filter refuses
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise JailError(jail, f"{archive} cannot be imported: {error}", "export it anew") from error


def _unpack_new(jail: str, archive: Path, folder: Path) -> None:
    folder.mkdir(mode=0o700)
    unpack(jail, archive, folder)


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


def _inner_member(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    """A member without the folder that all are in; raises for what would lead outside."""
    inner = _inner_name(member.name)
    if inner == "." and member.isdir():
        return None
    if inner == ".":
        raise tarfile.ReadError("its data is no folder")
    # The names of hard links are names of members; those of other links are left as they are.
    target = _inner_name(member.linkname) if member.islnk() else member.linkname
    # "data" refuses devices, absolute paths and links that lead outside.
    return tarfile.data_filter(member.replace(name=inner, linkname=target, deep=False), folder)


def _inner_name(name: str) -> str:
    parts = PurePosixPath(name).parts
    if parts[:1] != (_TOP,):
        raise tarfile.ReadError("it holds more than one folder named data")
    return str(PurePosixPath(*parts[1:]))


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
