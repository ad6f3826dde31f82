"""What a tree on the image is made of: one ``Entry`` for each path; words only.

Whatever brings files (a release's sets, packages, wheels, overlays) says them in entries; whoever
lays out a file system reads nothing else. Owner, mode, flags and links live here and never in the
build host's own files, so a build needs no root.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Kind(StrEnum):
    """What lies at a path."""

    FOLDER = "dir"
    FILE = "file"
    SYMLINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of the image, relative to its root and without ``./``; the root itself is ``""``."""

    path: str
    kind: Kind
    # Permission bits with setuid, setgid and sticky: 0 to 0o7777.
    mode: int
    # Names, as in the image's own /etc/master.passwd and /etc/group.
    owner: str = "root"
    group: str = "wheel"
    # FreeBSD file flags, such as schg.
    flags: tuple[str, ...] = ()
    # The text of a symbolic link.
    target: str = ""
    # Where a file's bytes lie on the build host; None for folders and symbolic links.
    source: Path | None = None
    # A hard link is a file whose bytes are those of this other path of the same tree.
    same_as: str = ""

    @property
    def is_hard_link(self) -> bool:
        """Whether the bytes are those of another path."""
        return bool(self.same_as)
