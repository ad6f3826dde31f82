"""Unpacking of an archive into an empty folder, which nobody else writes in.

Our own walk over the members (``reconciler.releases.members``), with the data filter of
``tarfile`` (PEP 706) as a second opinion; ``extract`` is never called. Every step goes from an open
folder to a plain name in it. It runs with the rights of the reconciler: there is no other user for
it, so the checks come first and nothing is written through a link.
"""

from __future__ import annotations

import os
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from maculaos.host.folders import Folder
from reconciler.releases.archive import Archive
from reconciler.releases.members import BadArchive, Contents, Kind
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import IO

    from reconciler.releases.members import ArchiveBudget, Parts, Placing

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE: Final = 0o755


def unpack(file: IO[bytes], staging: Path, budget: ArchiveBudget, strip: int = 0) -> None:
    """Unpack ``file``, open at its start, into the empty folder ``staging``, durably.

    Raises ``BadArchive``, or ``OSError`` if this machine cannot write; what is in ``staging`` then
    is of no use.
    """
    packed_bytes = os.fstat(file.fileno()).st_size
    contents = Contents(budget, packed_bytes, strip)
    archive = Archive(file, budget.most_bytes(packed_bytes), budget.entries)
    with _Staging(staging) as folder:
        for info, member in archive.members():
            placing = contents.admit(member)
            if placing is not None:
                _second_opinion(info, staging)
                folder.place(placing, archive.content(info))
        for link in contents.links():
            folder.link(link)
        folder.settle()


def _second_opinion(info: tarfile.TarInfo, staging: Path) -> None:
    try:
        tarfile.data_filter(info, str(staging))
    except tarfile.FilterError as error:
        raise BadArchive(one_line(str(error))) from error


class _Staging:
    """The folder that is being filled; every name is looked up one step at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folders: dict[Parts, None] = {(): None}

    def __enter__(self) -> _Staging:
        self._handle = os.open(self._path, _FOLDER)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def place(self, placing: Placing, content: Iterable[bytes]) -> None:
        """Make it, unless it is a symbolic link: those come last."""
        if placing.kind is Kind.FOLDER:
            with self._open(placing.parts):
                return
        if placing.kind is Kind.LINK:
            return
        with self._open(placing.parts[:-1]) as folder:
            if placing.kind is Kind.HARD_LINK:
                self._link_again(placing, folder)
            else:
                _write(folder, placing, content)

    def link(self, placing: Placing) -> None:
        """Make a symbolic link that was followed on paper."""
        with self._open(placing.parts[:-1]) as folder:
            os.symlink(placing.target, placing.parts[-1], dir_fd=folder)

    def settle(self) -> None:
        """Every folder onto the disk, the innermost first; the files are there already."""
        for parts in sorted(self._folders, key=len, reverse=True):
            with self._open(parts) as folder:
                os.fchmod(folder, _FOLDER_MODE)
                os.fsync(folder)

    def _link_again(self, placing: Placing, folder: int) -> None:
        with self._open(placing.source[:-1]) as there:
            os.link(
                placing.source[-1],
                placing.parts[-1],
                src_dir_fd=there,
                dst_dir_fd=folder,
                follow_symlinks=False,
            )

    @contextmanager
    def _open(self, parts: Parts) -> Iterator[int]:
        """The folder, made if it is missing, as are those above it."""
        handle = os.dup(self._handle)
        try:
            for depth, name in enumerate(parts, 1):
                below = Folder(handle).descend(name, make=parts[:depth] not in self._folders)
                self._folders[parts[:depth]] = None
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)


def _write(folder: int, placing: Placing, content: Iterable[bytes]) -> None:
    handle = os.open(placing.parts[-1], _NEW, 0o600, dir_fd=folder)
    try:
        for chunk in content:
            left = memoryview(chunk)
            while left:
                left = left[os.write(handle, left) :]
        os.fchmod(handle, placing.mode)
        os.fsync(handle)
    finally:
        os.close(handle)
