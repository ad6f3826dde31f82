"""Files below a folder that somebody else may change at any moment (``openat(2)`` and its kin).

Every step goes from an open folder to a plain name in it and follows no link, so whatever is
swapped for a link meanwhile, nothing outside is read, written or deleted. Who may call is not
decided here, and neither is what lies in the folder.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LeadsAway(OSError):
    """A link, or something else that is no folder, stands where a folder was expected."""


class Folder:
    """A folder held open: it stays the same one, whatever its name leads to now."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def read(self, name: str, most_bytes: int) -> tuple[bytes, int] | None:
        """Content and mode of a plain file of at most that size; None if it is anything else."""
        try:
            handle = os.open(name, _PLAIN, dir_fd=self._handle)
        except OSError:
            return None
        try:
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode) or seen.st_size > most_bytes:
                return None
            with open(handle, "rb", closefd=False) as file:
                return file.read(most_bytes + 1), stat.S_IMODE(seen.st_mode)
        finally:
            os.close(handle)

    def write(self, name: str, content: bytes, mode: int) -> None:
        """Replace the file ``name`` as a whole, durably; raises ``OSError``.

        It has ``mode`` before any content is in it. A link of that name is replaced, not followed.
        """
        temporary = f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        handle = os.open(temporary, _NEW, 0o600, dir_fd=self._handle)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(content)
                file.flush()
                os.fsync(handle)
            os.rename(temporary, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=self._handle)
            raise
        os.fsync(self._handle)

    def remove_leftovers(self, name: str) -> None:
        """Delete what killed writers of ``name`` left; only when none is at work."""
        leftover = re.compile(re.escape(f".{name}.") + r"\d+\.[0-9a-f]{8}")
        for found in os.listdir(self._handle):
            if leftover.fullmatch(found):
                self.delete(found)

    def delete(self, name: str) -> None:
        """Delete the file or link ``name``, if there is one; raises ``OSError``."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    def delete_folder(self, name: str) -> None:
        """Delete the empty folder ``name``; raises ``OSError`` if it is not empty, or no folder."""
        os.rmdir(name, dir_fd=self._handle)

    def descend(self, name: str, *, make: bool) -> int:
        """A descriptor of the folder ``name``, made with mode 0700 if it is missing and wanted.

        Raises ``LeadsAway``, or another ``OSError``.
        """
        if make:
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=self._handle)
        try:
            return os.open(name, _FOLDER, dir_fd=self._handle)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                raise LeadsAway(error.errno, "a link or a file is in the way", name) from error
            raise


@contextmanager
def folder_below(top: Path, names: tuple[str, ...], *, make: bool = False) -> Iterator[Folder]:
    """The folder that ``names`` lead to, one in another, from ``top`` on.

    ``top`` itself is no link, and lies where only trusted users may rename it. Missing folders
    are made if ``make`` says so. Raises ``LeadsAway``, or another ``OSError``.
    """
    handle = os.open(top, _FOLDER)
    try:
        for name in names:
            below = Folder(handle).descend(name, make=make)
            os.close(handle)
            handle = below
        yield Folder(handle)
    finally:
        os.close(handle)
