"""Folders that lie in memory on the machine: their templates below ``conf``, as rc(8) copies them.

The root is read-only, so ``/etc`` and ``/var`` are filled at each start from ``/conf/base``
(``rc.initdiskless``). A copy takes no room, since both paths name the same bytes. Pure; which
folders these are is data in ``image/layout.toml``. A path that lies in a template already stays:
it was meant for there.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.tree import Layer, Tree, is_clean, merge
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TEMPLATES_MAX: Final = 16
LAYER: Final = "templates"
SIZE_FILE: Final = "md_size"
# What a memory disk takes: files in pages, and a little for each name.
_PAGE_BYTES: Final = 4096
_NAME_BYTES: Final = 512
_SECTOR_BYTES: Final = 512


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One folder in memory."""

    # As in etc.
    folder: str
    # Where its content lies on the read-only root, as in conf/base/etc.
    template: str
    # A copy shares its bytes with the folder; a move leaves an empty folder to mount on.
    how: Literal["copy", "move"]
    why: str


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    memory: list[Template] = []


def parse_layout(text: str, where: str) -> tuple[Template, ...]:
    """The folders in TOML; raises ``UsageError`` with the place of a mistake."""
    try:
        templates = tuple(msgspec.convert(tomllib.loads(text), _File).memory)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}", "see what stands there already") from error
    if len(templates) > TEMPLATES_MAX:
        raise UsageError(f"{where}: more than {TEMPLATES_MAX} folders", "use fewer")
    for one in templates:
        if not all(path and is_clean(path) for path in (one.folder, one.template)):
            raise UsageError(f"{where}: {one} names no folder", "write it like conf/base/etc")
        if f"{one.template}/".startswith(f"{one.folder}/"):
            raise UsageError(f"{where}: {one.template} lies in {one.folder}, which is in memory")
    return templates


def lay_templates(tree: Tree, templates: Sequence[Template]) -> Tree:
    """The tree with its templates; raises ``UsageError`` for a folder that the tree has not."""
    there = tree.by_path()
    moved: set[str] = set()
    for one in templates:
        if one.folder not in there or there[one.folder].kind is not Kind.FOLDER:
            raise UsageError(
                f"/{one.folder} cannot lie in memory: the image has no such folder",
                "take it out of the layout, or keep it in the prune file",
            )
        copies = [entry for entry in _copies(tree, one) if entry.path not in there]
        tree = with_layer(tree, Layer(LAYER, copies))
        if one.how == "move":
            moved |= {path for path in there if path.startswith(f"{one.folder}/")}
    return tree.only({entry.path for entry in tree.entries} - moved) if moved else tree


def size_problem(tree: Tree, template: Template, sizes: Mapping[str, int], md_size: str) -> str:
    """Why the content of a template does not fit its memory disk; empty if it does.

    ``md_size`` is the text of the file of that name, in sectors of 512 bytes; ``sizes`` are the
    bytes of every file of the tree.
    """
    text = md_size.strip()
    if not (text.isascii() and text.isdigit()):
        return f"{template.template}/{SIZE_FILE}: {text[:40]!r} is no number of sectors"
    needed, room = needed_bytes(tree, template, sizes), int(text) * _SECTOR_BYTES
    if needed > room:
        return f"{template.template}/{SIZE_FILE}: {room} bytes, the content takes {needed}"
    return ""


def needed_bytes(tree: Tree, template: Template, sizes: Mapping[str, int]) -> int:
    """What the content of a template takes in memory: files in pages, and each name."""
    inside = [entry for entry in tree.entries if entry.path.startswith(f"{template.template}/")]
    return sum(
        _NAME_BYTES + -(-_size(entry, sizes) // _PAGE_BYTES) * _PAGE_BYTES for entry in inside
    )


def _size(entry: Entry, sizes: Mapping[str, int]) -> int:
    """Bytes of a file once it is copied: hard links become files of their own."""
    if entry.kind is not Kind.FILE:
        return 0
    return sizes.get(entry.path, 0) or sizes.get(entry.same_as, 0)


def _copies(tree: Tree, template: Template) -> Iterator[Entry]:
    """What lies in the folder once more, in the template; files as hard links."""
    for entry in tree.entries:
        if entry.path != template.folder and not entry.path.startswith(f"{template.folder}/"):
            continue
        path = template.template + entry.path[len(template.folder) :]
        if entry.kind is Kind.FILE:
            yield replace(entry, path=path, source=None, same_as=entry.path)
        else:
            yield replace(entry, path=path)


def with_layer(tree: Tree, layer: Layer) -> Tree:
    """One layer more on top; every other path keeps the name of the layer that brought it."""
    merged = merge([Layer(layer.name, _links_last(tree.entries)), layer])
    brought = {entry.path for entry in layer.entries}
    return Tree(
        merged.entries,
        {
            path: name if path in brought else tree.layer_of.get(path, name)
            for path, name in merged.layer_of.items()
        },
    )


def _links_last(entries: Sequence[Entry]) -> list[Entry]:
    """The entries so that a hard link follows the path that it is named after."""
    return sorted(entries, key=lambda entry: entry.is_hard_link)
