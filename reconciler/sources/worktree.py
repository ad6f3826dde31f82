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
    named_secrets,
    refused_entries,
    unreadable_entries,
    unreadable_secrets,
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
        files = {path: (folder / path).read_bytes() for path in taken}
        secrets = [_entry(folder, p) for p in named_secrets(files.values()) if _is_in(folder, p)]
        unusable = unreadable_secrets(secrets, limits)
        readable = [entry.path for entry in secrets if entry.path not in unusable]
        return Tree(
            files=files,
            secrets={path: (folder / path).read_bytes() for path in readable},
            unreadable=tuple(
                problem for found in (*unreadable.values(), *unusable.values()) for problem in found
            ),
        )
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}", "give the folder of a work tree"
        ) from error


def _is_in(folder: Path, path: str) -> bool:
    """Whether something lies there, and no folder on the way is a link."""
    inside = folder / path
    on_the_way = [each for each in inside.parents if each.is_relative_to(folder) and each != folder]
    return os.path.lexists(inside) and not any(each.is_symlink() for each in on_the_way)


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
