"""Digests of what a build reads: of files and of whole folders, as facts for the keys of steps."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FILES_MAX: Final = 20_000
# What tools and editors leave beside our files.
_LEFTOVERS: Final = ("__pycache__", ".gitkeep", ".DS_Store")
_ENDINGS: Final = (".pyc", ".pyo", ".swp", "~")


def of_words(*words: str) -> str:
    """The digest of words in their order, in hexadecimal."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()


def of_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; empty if there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def of_files(paths: Iterable[Path]) -> str:
    """The digest of several files; their folders make no difference."""
    return of_words(*(f"{path.name} {of_file(path)}" for path in paths))


def of_folder(folder: Path) -> str:
    """The digest of every file below ``folder``: paths, contents, and texts of links."""
    return of_words(
        *(
            f"{path.relative_to(folder).as_posix()} "
            + (f"-> {path.readlink()}" if path.is_symlink() else of_file(path))
            for path in files_below(folder)
        )
    )


def files_below(folder: Path) -> list[Path]:
    """Files and links below ``folder`` in order, without what tools and editors leave behind.

    Raises ``UsageError`` where there is no such folder, or too much in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder", "restore it from Git")
    found = sorted(_walk(folder))
    if len(found) > FILES_MAX:
        raise UsageError(f"{folder} holds more than {FILES_MAX} files", "it is for small trees")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    with os.scandir(folder) as seen:
        entries = list(seen)
    for entry in entries:
        if entry.name in _LEFTOVERS or entry.name.endswith(_ENDINGS):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(folder / entry.name)
        else:
            yield folder / entry.name
