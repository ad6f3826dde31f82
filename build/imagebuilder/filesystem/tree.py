"""The tree of the image: layers of entries laid over one another, in order.

Pure: it looks at no file. The laws: a later layer replaces what an earlier one put at a path; a
file never replaces a folder, nor a folder a file; a folder that nobody lists but somebody fills
is made; hard links hold together when the path they were named after is replaced or removed;
parents come before what they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.problems import in_one_line
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

IMPLIED_MODE = 0o755


class TreeConflict(UsageError):
    """Layers that cannot lie over one another; ``problems`` has a line for each place."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(
            in_one_line(problems), "prune the path from the earlier layer, or change the later one"
        )
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Layer:
    """Entries from one place, such as a set or a package; the name is for tables and errors."""

    name: str
    entries: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Tree:
    """Every path once, parents first, the root included; and which layer brought each path."""

    entries: tuple[Entry, ...]
    layer_of: Mapping[str, str]

    def by_path(self) -> dict[str, Entry]:
        """The entries by their paths, in order."""
        return {entry.path: entry for entry in self.entries}

    def only(self, paths: Collection[str]) -> Tree:
        """The tree with these paths alone; a hard link whose first path goes takes its place."""
        roots: dict[object, Entry] = {entry.path: entry for entry in self.entries}
        members = {
            entry.path: (entry, entry.same_as or entry.path)
            for entry in self.entries
            if entry.path in paths
        }
        kept = _linked(members, roots)
        return Tree(kept, {entry.path: self.layer_of[entry.path] for entry in kept})


def order(path: str) -> list[str]:
    """Sort key that puts parents before what they hold."""
    return path.split("/")


def parents(path: str) -> Iterator[str]:
    """The folders above ``path``, nearest first, the root ``""`` last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def is_clean(path: str) -> bool:
    """Whether ``path`` is relative, without ``.``, ``..``, empty parts and NUL; ``""`` is."""
    return not path or ("\0" not in path and not {"", ".", ".."} & set(path.split("/")))


def merge(layers: Iterable[Layer]) -> Tree:
    """Lay the layers over one another, the first at the bottom; raises ``TreeConflict``."""
    stack = _Stack()
    for layer in layers:
        # Links last: entries in order of path may name one before the file that has its bytes.
        for entry in sorted(layer.entries, key=lambda entry: entry.is_hard_link):
            stack.put(layer.name, entry)
    if stack.problems:
        raise TreeConflict(stack.problems)
    kept = _linked(stack.members, stack.roots)
    return Tree(kept, {entry.path: stack.layer_of[entry.path] for entry in kept})


class _Stack:
    """What lies at each path so far, and which bytes each file belongs to."""

    def __init__(self) -> None:
        root = Entry(path="", kind=Kind.FOLDER, mode=IMPLIED_MODE)
        # Path -> entry, and the key of the inode that it names.
        self.members: dict[str, tuple[Entry, object]] = {"": (root, "")}
        self.roots: dict[object, Entry] = {}
        self.layer_of = {"": "implied"}
        self.problems: list[str] = []

    def put(self, layer: str, entry: Entry) -> None:
        problem = self._problem(entry)
        if problem:
            self.problems.append(f"{layer}: {entry.path or '/'}: {problem}")
            return
        for parent in parents(entry.path):
            if parent not in self.members:
                folder = Entry(path=parent, kind=Kind.FOLDER, mode=IMPLIED_MODE)
                self.members[parent] = (folder, parent)
                self.layer_of[parent] = layer
        self.members[entry.path] = (entry, self._inode_of(entry, layer))
        self.layer_of[entry.path] = layer

    def _inode_of(self, entry: Entry, layer: str) -> object:
        if entry.is_hard_link:
            return self.members[entry.same_as][1]
        key = (layer, entry.path, len(self.roots))
        self.roots[key] = entry
        return key

    def _problem(self, entry: Entry) -> str:
        """Why the entry cannot be put here; empty if it can."""
        if not is_clean(entry.path):
            return "not a plain relative path"
        for parent in parents(entry.path):
            if parent in self.members and self.members[parent][0].kind is not Kind.FOLDER:
                return f"{parent} is not a folder"
        if entry.path in self.members:
            there = self.members[entry.path][0].kind
            if (there is Kind.FOLDER) != (entry.kind is Kind.FOLDER):
                return f"a {entry.kind} cannot replace a {there}"
        if entry.is_hard_link:
            target = self.members.get(entry.same_as)
            if target is None or target[0].kind is not Kind.FILE:
                return f"a hard link to {entry.same_as!r}, where no file is"
        return ""


def _linked(
    members: Mapping[str, tuple[Entry, object]], roots: Mapping[object, Entry]
) -> tuple[Entry, ...]:
    """Entries in order; of the paths that share an inode the first has the bytes.

    Owner, mode and flags belong to the inode, so every path takes those of the entry that
    brought the bytes.
    """
    first: dict[object, str] = {}
    linked = []
    for path in sorted(members, key=order):
        entry, inode = members[path]
        if entry.kind is Kind.FILE:
            root = roots[inode]
            leader = first.setdefault(inode, path)
            same_as = "" if leader == path else leader
            entry = replace(root, path=path, same_as=same_as, source=root.source)
        linked.append(entry)
    return tuple(linked)
