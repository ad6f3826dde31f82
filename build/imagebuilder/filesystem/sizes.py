"""How large the parts of a tree are: by layer and by top folder, as data and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.table import Table

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagebuilder.filesystem.tree import Tree

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """Files and bytes of one part; bytes of hard links count once, at their first path."""

    paths: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """The parts of one tree."""

    by_layer: Mapping[str, Part]
    by_folder: Mapping[str, Part]
    whole: Part


def measure(tree: Tree) -> dict[str, int]:
    """Bytes of every file by path, read from the build host; 0 for hard links.

    Raises ``UsageError`` when a file is gone.
    """
    sizes = {}
    for entry in tree.entries:
        if entry.source is None or entry.is_hard_link:
            sizes[entry.path] = 0
            continue
        try:
            sizes[entry.path] = entry.source.stat().st_size
        except OSError as error:
            raise UsageError(f"{entry.path}: {error}", "build again") from error
    return sizes


def top_folder(path: str) -> str:
    """The part of a path that the table speaks of: two names below ``usr``, else one."""
    names = path.split("/")
    return "/".join(names[: 2 if names[0] == "usr" else 1]) or "/"


def parts(tree: Tree, sizes: Mapping[str, int]) -> Sizes:
    """Add up a tree; ``sizes`` comes from ``measure``."""
    paths = [entry.path for entry in tree.entries]
    return Sizes(
        _grouped(paths, sizes, lambda path: tree.layer_of[path]),
        _grouped(paths, sizes, top_folder),
        Part(len(paths), sum(sizes[path] for path in paths)),
    )


def _grouped(
    paths: list[str], sizes: Mapping[str, int], name_of: Callable[[str], str]
) -> dict[str, Part]:
    counts: dict[str, tuple[int, int]] = {}
    for path in paths:
        number, size = counts.get(name_of(path), (0, 0))
        counts[name_of(path)] = (number + 1, size + sizes[path])
    largest = sorted(counts.items(), key=lambda item: (-item[1][1], item[0]))
    return {name: Part(number, size) for name, (number, size) in largest}


def to_json(sizes: Sizes) -> str:
    """The parts as JSON, the largest first."""
    document = {
        "layers": {name: _fields(part) for name, part in sizes.by_layer.items()},
        "folders": {name: _fields(part) for name, part in sizes.by_folder.items()},
        "whole": _fields(sizes.whole),
    }
    return json.dumps(document, indent=2) + "\n"


def _fields(part: Part) -> dict[str, int]:
    return {"paths": part.paths, "bytes": part.size_bytes}


def to_table(sizes: Sizes) -> Table:
    """The parts as a table for people."""
    table = Table(title="What is in a slot")
    table.add_column("part")
    for heading in ("paths", "MiB", "share"):
        table.add_column(heading, justify="right")
    whole = max(sizes.whole.size_bytes, 1)
    for group in (sizes.by_layer, sizes.by_folder, {"all": sizes.whole}):
        for name, part in group.items():
            share = f"{100 * part.size_bytes / whole:.0f} %"
            table.add_row(name, str(part.paths), f"{part.size_bytes / _MIB:.1f}", share)
        table.add_section()
    return table
