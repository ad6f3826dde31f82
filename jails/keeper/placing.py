"""Files of a spec, put under a jail's writable part, and read back as they lie there now."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from jails.runtime import MOST_FILE_BYTES, JailError
from jails.spec import digest_of_files
from maculaos.errors import UsageError
from maculaos.host.files import remove_leftovers, under, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jails.keeper.records import JailDirectory
    from jails.spec import JailFile

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def place_files(directory: JailDirectory, files: Iterable[JailFile]) -> None:
    """Write each file that is not there already, atomically; raises ``JailError``."""
    for file in files:
        path = _inside(directory, file.path)
        if _read_plain(path) == (file.content, file.mode):
            continue
        try:
            _make_folders(directory.data, path.parent)
            remove_leftovers(path)
            write_atomically(path, file.content, file.mode)
        except OSError as error:
            raise _cannot(directory, f"write {file.path}", error) from error


def remove_files(directory: JailDirectory, paths: Iterable[str]) -> None:
    """Delete files that an earlier spec placed, and the folders that this leaves empty."""
    for relative in paths:
        path = _inside(directory, relative)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise _cannot(directory, f"delete {relative}", error) from error
        with suppress(OSError):  # a folder that is not empty stays
            while path.parent != directory.data.resolve():
                path = path.parent
                path.rmdir()


def digest_on_disk(directory: JailDirectory, paths: Iterable[str]) -> str:
    """What ``JailSpec.files_digest`` would be of the files as they lie there now.

    A file that is missing, too large or no plain file is left out, so the digest differs. Without
    the writable part it is empty, which no digest of files is.
    """
    if not directory.data.is_dir():
        return ""
    found = ((relative, _read_plain(directory.data / relative)) for relative in paths)
    return digest_of_files({relative: file for relative, file in found if file is not None})


def _inside(directory: JailDirectory, relative: str) -> Path:
    """The resolved folder plus the plain name: a link in the file's own place is replaced."""
    folder, _, name = relative.rpartition("/")
    try:
        return under(directory.data, folder) / name
    except UsageError as error:
        hint = "something in the jail made a link there: remove it"
        raise JailError(directory.name, error.what, hint) from error


def _make_folders(data: Path, folder: Path) -> None:
    """Like ``mkdir -p``, but private all the way down."""
    missing = []
    while folder != data.resolve() and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _read_plain(path: Path) -> tuple[bytes, int] | None:
    """Content and mode, if it is a plain file of sensible size."""
    try:
        handle = os.open(path, _FLAGS)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        seen = os.fstat(handle)
        if not stat.S_ISREG(seen.st_mode) or seen.st_size > MOST_FILE_BYTES:
            return None
        return file.read(MOST_FILE_BYTES + 1), stat.S_IMODE(seen.st_mode)


def _cannot(directory: JailDirectory, what: str, error: OSError) -> JailError:
    hint = f"see what lies in {directory.data}"
    return JailError(directory.name, f"cannot {what}: {error.strerror}", hint)
