"""The specs of a work tree on disk, read as a commit of it would be: for ``reconciler check``.

Only what would be committed as a regular file counts; symbolic links are never followed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from maculaos.errors import UsageError
from reconciler.sources.tree import (
    REGULAR_FILE,
    Entry,
    Tree,
    TreeLimits,
    is_spec_folder,
    is_spec_name,
    refused_entries,
    unreadable_entries,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_work_tree(folder: Path, limits: TreeLimits | None = None) -> Tree:
    """The specs under ``folder``; raises ``UsageError`` if it is no folder that can be read."""
    limits = limits or TreeLimits()
    try:
        entries = sorted(_entries(folder, limits.files + 1), key=lambda entry: entry.path)
        problems = refused_entries(entries, limits)
        if problems:
            return Tree(problems=problems)
        unreadable = unreadable_entries(entries, limits)
        taken = [entry.path for entry in entries if entry.path not in unreadable]
        return Tree(
            files={path: (folder / path).read_bytes() for path in taken},
            unreadable=tuple(problem for found in unreadable.values() for problem in found),
        )
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}", "give the folder of a work tree"
        ) from error


def _entries(folder: Path, most: int) -> Iterator[Entry]:
    for item in os.scandir(folder):
        if item.is_dir(follow_symlinks=False):
            if is_spec_folder(item.name):
                yield from _below(folder, item.name, most)
        elif is_spec_name(item.name):
            yield _entry(folder, item.name)


def _below(folder: Path, name: str, most: int) -> Iterator[Entry]:
    seen = 0
    for inside, _, files in os.walk(folder / name):
        for file in files:
            seen += 1
            if seen > most:
                return
            yield _entry(folder, os.path.relpath(os.path.join(inside, file), folder))


def _entry(folder: Path, path: str) -> Entry:
    found = (folder / path).lstat()
    if stat.S_ISREG(found.st_mode):
        return Entry(path, REGULAR_FILE, found.st_size)
    is_link = stat.S_ISLNK(found.st_mode)
    return Entry(path, "a symbolic link" if is_link else "no regular file", 0)
