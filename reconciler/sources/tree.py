"""Which files of a repository are specs, and which of them cannot be read as such.

The same rules for a commit and for a work tree that is checked before a push. What stands in
the files is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from maculaos.documents import Problem
from reconciler.secrets.reference import is_secret_file
from reconciler.sources.unreachable import one_line
from reconciler.specs.layout import SPEC_FOLDERS

if TYPE_CHECKING:
    from collections.abc import Iterable

SPEC_SUFFIXES: Final = (".yaml", ".yml")
REGULAR_FILE: Final = "a regular file"
# Encrypted files that the specs of one commit may name.
SECRETS_MAX: Final = 1000
_SECRET: Final = re.compile(rb"[A-Za-z0-9._@+/-]{1,255}\.(?:age|sops\.ya?ml|sops\.json)(?![\w.-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """What a commit may hold in the files that are read; more is refused as a problem."""

    files: int = 2000
    file_bytes: int = 256 * 1024
    total_bytes: int = 64 * 1024 * 1024
    # Of one encrypted file.
    secret_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The specs of one commit by path, and what cannot be read as one."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    # Encrypted files that specs name, wherever they lie; one that is not there is left out.
    secrets: Mapping[str, bytes] = field(default_factory=dict)
    # Files that are there and cannot be taken: each is broken by itself.
    unreadable: tuple[Problem, ...] = ()
    # Why nothing of the commit can be taken.
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One file before it is read; ``kind`` in words, ``size`` in bytes."""

    path: str
    kind: str
    size: int


def is_spec_name(path: str) -> bool:
    """Whether a file at the top level is read; a folder's name on something else counts too."""
    return path in SPEC_FOLDERS or path.casefold().endswith(SPEC_SUFFIXES)


def is_spec_folder(path: str) -> bool:
    """Whether a folder is read: also node/ or Apps/, to say that another name was meant."""
    return f"{path.casefold().rstrip('s')}s" in SPEC_FOLDERS


def named_secrets(specs: Iterable[bytes]) -> tuple[str, ...]:
    """The paths of encrypted files that these specs may name: only those are looked for."""
    found = {match.decode() for content in specs for match in _SECRET.findall(content)}
    return tuple(sorted(path for path in found if is_secret_file(path)))[:SECRETS_MAX]


def unreadable_secrets(
    entries: Iterable[Entry], limits: TreeLimits
) -> Mapping[str, tuple[Problem, ...]]:
    """What keeps encrypted files from being read, by path."""
    found: dict[str, tuple[Problem, ...]] = {}
    left = limits.total_bytes
    for entry in entries:
        problems = _problems_of(entry, replace(limits, file_bytes=limits.secret_bytes))
        left -= 0 if problems else entry.size
        if left < 0:
            what = f"the encrypted files hold more than {limits.total_bytes} bytes together"
            problems = [_problem(entry.path, what, "make them smaller")]
        if problems:
            found[entry.path] = tuple(problems)
    return found


def refused_entries(entries: Iterable[Entry], limits: TreeLimits) -> tuple[Problem, ...]:
    """Why nothing of these files can be taken; empty if most of them can."""
    entries = tuple(entries)
    if len(entries) > limits.files:
        what = f"{len(entries)} files, at most {limits.files} are read"
        return (_problem(entries[limits.files].path, what, "use several repositories"),)
    taken = [entry for entry in entries if not _problems_of(entry, limits)]
    if sum(entry.size for entry in taken) > limits.total_bytes:
        largest = max(taken, key=lambda entry: entry.size)
        what = f"the specs hold more than {limits.total_bytes} bytes together"
        return (_problem(largest.path, what, "remove what is no spec"),)
    # Without a whole folder nothing could be told of what was in it.
    folders = (entry for entry in entries if entry.path in SPEC_FOLDERS)
    return tuple(problem for entry in folders for problem in _problems_of(entry, limits))


def unreadable_entries(
    entries: Iterable[Entry], limits: TreeLimits
) -> Mapping[str, tuple[Problem, ...]]:
    """What keeps single files from being read, by path."""
    found = {entry.path: tuple(_problems_of(entry, limits)) for entry in entries}
    return {path: problems for path, problems in found.items() if problems}


def _problems_of(entry: Entry, limits: TreeLimits) -> list[Problem]:
    if entry.kind != REGULAR_FILE:
        return [_problem(entry.path, f"it is {entry.kind}", "commit a regular file")]
    if entry.size > limits.file_bytes:
        what = f"the file has {entry.size} bytes, at most {limits.file_bytes} are read"
        return [_problem(entry.path, what, "make it smaller")]
    return []


def _problem(path: str, what: str, hint: str) -> Problem:
    return Problem(path=one_line(path, 200), line=1, column=1, what=what, hint=hint)
