"""Whether every program and library of a tree finds what it needs in the same tree.

It follows FreeBSD's rtld(1): the file's own search paths, then the folders of the system.
``libmap.conf`` and what a program loads by name while it runs (``dlopen``) are not known here.
Kernel and modules below ``boot`` are linked by the kernel and left out.
"""

from __future__ import annotations

import mmap
import posixpath
from typing import TYPE_CHECKING, Final

from imagebuilder.elf import MAGIC, BrokenElf, Elf, parse_elf
from imagebuilder.entries import Kind
from imagebuilder.filesystem.problems import in_one_line
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from imagebuilder.entries import Entry
    from imagebuilder.filesystem.tree import Tree

# rtld's own folders, then those that rc.d/ldconfig adds.
SYSTEM_FOLDERS: Final = (
    "lib/casper",
    "lib",
    "usr/lib",
    "usr/lib/compat",
    "usr/local/lib",
    "usr/local/lib/compat",
)
_LINKS_FOLLOWED_MAX: Final = 16
_NOT_LINKED_HERE: Final = ("boot/",)


def read_elves(tree: Tree) -> tuple[dict[str, Elf], list[str]]:
    """Every ELF file of the tree by its path, and a line for each that is broken."""
    elves: dict[str, Elf] = {}
    problems: list[str] = []
    for entry in tree.entries:
        if entry.source is None or entry.path.startswith(_NOT_LINKED_HERE):
            continue
        if entry.is_hard_link and entry.same_as in elves:
            elves[entry.path] = elves[entry.same_as]
            continue
        try:
            elf = _read(entry.source)
        except BrokenElf as error:
            problems.append(f"{entry.path}: {error}")
            continue
        if elf is not None:
            elves[entry.path] = elf
    return elves, problems


def _read(path: Path) -> Elf | None:
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                return None
            # Mapped: of a large library only the headers are read.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return parse_elf(data)
    except OSError as error:
        raise UsageError(f"{path}: {error}", "build again") from error


def linkage_problems(
    entries: Iterable[Entry], elves: Mapping[str, Elf], folders: Iterable[str] = SYSTEM_FOLDERS
) -> list[str]:
    """One line for every interpreter and library that is missing; ``folders`` are rtld's."""
    places = _Places({entry.path: entry for entry in entries}, tuple(folders))
    problems = []
    for path, elf in elves.items():
        if elf.interpreter and places.resolve(elf.interpreter.lstrip("/")) is None:
            problems.append(f"{path}: its interpreter {elf.interpreter} is not there")
        problems += [
            f"{path}: needs {name}, which is not there"
            for name in elf.needed
            if not any(_serves(found, elf, elves) for found in places.find(path, elf, name))
        ]
    return problems


def _serves(path: str, elf: Elf, elves: Mapping[str, Elf]) -> bool:
    """Whether the library at ``path`` is one for the machine of ``elf``."""
    return path in elves and elves[path].target == elf.target


def require_linkage(tree: Tree) -> None:
    """Raise ``UsageError`` unless every program of the tree finds its libraries."""
    elves, problems = read_elves(tree)
    problems += linkage_problems(tree.entries, elves)
    if problems:
        raise UsageError(in_one_line(problems), "keep the library, or prune the program too")


class _Places:
    """Paths of the tree, with symbolic links followed inside it."""

    def __init__(self, entries: Mapping[str, Entry], folders: tuple[str, ...]) -> None:
        self._entries = entries
        self._folders = folders

    def find(self, path: str, elf: Elf, name: str) -> Iterator[str]:
        """The files that rtld would try for a library, in order."""
        for candidate in self._candidates(path, elf, name):
            found = self.resolve(candidate)
            if found is not None:
                yield found

    def _candidates(self, path: str, elf: Elf, name: str) -> Iterator[str]:
        """Where rtld looks for a library, in order; as paths of the tree."""
        origin = posixpath.dirname(path)
        if "/" in name:
            yield name.lstrip("/")
            return
        # RUNPATH switches RPATH off.
        for folder in elf.runpath or elf.rpath:
            plain = folder.replace("${ORIGIN}", f"/{origin}").replace("$ORIGIN", f"/{origin}")
            yield posixpath.normpath(f"{plain}/{name}").lstrip("/")
        for folder in self._folders:
            yield f"{folder}/{name}"

    def resolve(self, path: str) -> str | None:
        """The file at ``path`` after all links, of folders too; None if there is none."""
        for _ in range(_LINKS_FOLLOWED_MAX):
            step = self._step(path)
            if step is None:
                entry = self._entries.get(path)
                return path if entry is not None and entry.kind is Kind.FILE else None
            path = step
        return None

    def _step(self, path: str) -> str | None:
        """``path`` with the first symbolic link in it replaced; None if it has none."""
        names = path.split("/")
        for index in range(len(names)):
            head = "/".join(names[: index + 1])
            entry = self._entries.get(head)
            if entry is not None and entry.kind is Kind.SYMLINK:
                base = "/" if entry.target.startswith("/") else f"/{posixpath.dirname(head)}"
                parts = [base, entry.target, *names[index + 1 :]]
                return posixpath.normpath("/".join(parts)).lstrip("/")
        return None
