"""Overlays: trees of files that are copied onto the image byte for byte.

Git keeps neither owners nor modes, so a rule gives them: programs are executable, everything else
is not, and all of it belongs to root. Folders are those of the system below, or made.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Final

from imagebuilder.digests import files_below
from imagebuilder.entries import Entry, Kind
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from imagebuilder.packages.store import ContentStore

FILE_BYTES_MAX: Final = 16 << 20
PROGRAM_MODE: Final = 0o555
FILE_MODE: Final = 0o644
LINK_MODE: Final = 0o755
# What lies in one of these folders, at any depth, is a program.
PROGRAM_FOLDERS: Final = frozenset(("rc.d", "bin", "sbin", "libexec"))


def mode_of(path: str) -> int:
    """The mode of the file that lies at ``path`` of an overlay."""
    return PROGRAM_MODE if PROGRAM_FOLDERS & set(path.split("/")[:-1]) else FILE_MODE


def read_overlay(folder: Path, store: ContentStore) -> list[Entry]:
    """The entries of an overlay in order; their bytes are put into ``store``.

    Raises ``UsageError`` for what is neither a file nor a link, and for a file that is too large.
    """
    return [
        _entry(path, path.relative_to(folder).as_posix(), store) for path in files_below(folder)
    ]


def _entry(path: Path, name: str, store: ContentStore) -> Entry:
    if path.is_symlink():
        return Entry(path=name, kind=Kind.SYMLINK, mode=LINK_MODE, target=str(path.readlink()))
    seen = path.stat()
    if not stat.S_ISREG(seen.st_mode) or seen.st_size > FILE_BYTES_MAX:
        raise UsageError(
            f"{path} is no file of at most {FILE_BYTES_MAX} bytes", "take it out of the overlay"
        )
    source = store.add_bytes(path.read_bytes())
    return Entry(path=name, kind=Kind.FILE, mode=mode_of(name), source=source)
