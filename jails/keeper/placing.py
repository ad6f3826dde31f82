"""Files of a spec, put under a jail's writable part, and read back as they lie there now.

The writable part belongs to the jail's program, which may turn any folder in it into a link while
a runtime works there as root. So no path is looked up as a whole: ``maculaos.host.folders``.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from jails.runtime import MOST_FILE_BYTES, JailError
from jails.spec import digest_of_files
from maculaos.host.folders import LeadsAway, folder_below

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.keeper.records import JailDirectory
    from jails.spec import JailFile


def place_files(directory: JailDirectory, files: Iterable[JailFile]) -> None:
    """Write each file that is not there already, atomically; raises ``JailError``."""
    for file in files:
        folders, name = _split(directory, file.path)
        try:
            with folder_below(directory.data, folders, make=True) as folder:
                if folder.read(name, MOST_FILE_BYTES) != (file.content, file.mode):
                    folder.remove_leftovers(name)
                    folder.write(name, file.content, file.mode)
        except OSError as error:
            raise _cannot(directory, f"write {file.path}", error) from error


def remove_files(directory: JailDirectory, paths: Iterable[str]) -> None:
    """Delete files that an earlier spec placed, and the folders that this leaves empty."""
    for relative in paths:
        folders, name = _split(directory, relative)
        try:
            with suppress(FileNotFoundError), folder_below(directory.data, folders) as folder:
                folder.delete(name)
        except OSError as error:
            raise _cannot(directory, f"delete {relative}", error) from error
        with suppress(OSError):  # a folder that is not empty stays
            while folders:
                *above, last = folders
                folders = tuple(above)
                with folder_below(directory.data, folders) as folder:
                    folder.delete_folder(last)


def digest_on_disk(directory: JailDirectory, paths: Iterable[str]) -> str:
    """What ``JailSpec.files_digest`` would be of the files as they lie there now.

    A file that is missing, too large, behind a link or no plain file is left out, so the digest
    differs. Without the writable part it is empty, which no digest of files is.
    """
    if not directory.data.is_dir():
        return ""
    found = ((relative, _read(directory, relative)) for relative in paths)
    return digest_of_files({relative: file for relative, file in found if file is not None})


def _read(directory: JailDirectory, relative: str) -> tuple[bytes, int] | None:
    try:
        folders, name = _split(directory, relative)
        with folder_below(directory.data, folders) as folder:
            return folder.read(name, MOST_FILE_BYTES)
    except (OSError, JailError):
        return None


def _split(directory: JailDirectory, relative: str) -> tuple[tuple[str, ...], str]:
    """The folders, one in another, and the name in the last of them.

    Raises ``JailError`` for what no checked spec holds: a path that is absolute, or has ``..``.
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise JailError(directory.name, f"{relative!r} is no path inside of its writable part")
    return path.parts[:-1], path.name


def _cannot(directory: JailDirectory, what: str, error: OSError) -> JailError:
    if isinstance(error, LeadsAway):
        hint = "something in the jail put a link or a file there: remove it"
        where = f"{error.filename!r} leads out of {directory.data}, or is no folder"
        return JailError(directory.name, f"cannot {what}: {where}", hint)
    hint = f"see what lies in {directory.data}"
    return JailError(directory.name, f"cannot {what}: {error.strerror}", hint)
