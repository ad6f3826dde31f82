"""Giving what a jail keeps to another name, where a jail is a folder of the host.

The folder moves as a whole, by one rename(2): before it the data are the former jail's and after it
the new one's, whoever is killed when. What was the former jail's alone is deleted first, so who
breaks off then leaves a stopped jail without its log, and with all its data. Whoever calls
holds both folders. What lies outside of them is not moved here: ``jails.freebsd.storage``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from maculaos.host.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from jails.keeper.records import JailDirectory


def strip(directory: JailDirectory, kept: Collection[Path] = ()) -> None:
    """Delete everything in the jail's folder but its mark and what is ``kept``."""
    for entry in directory.contents():
        if entry in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def hand_over(directory: JailDirectory, target: JailDirectory) -> None:
    """Let the folder take the place of an empty one; from here on it has happened.

    Raises ``OSError`` if that one is not empty.
    """
    sync_directory(directory.path)
    directory.path.rename(target.path)
    sync_directory(target.path.parent)
