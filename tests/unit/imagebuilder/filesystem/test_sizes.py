"""Sizes: every byte counts once, by layer and by folder."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.sizes import Part, measure, parts, to_json, to_table
from imagebuilder.filesystem.tree import Layer, Tree, merge
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def file(path: str, size: int) -> Entry:
        source = tmp_path / path.replace("/", "_")
        source.write_bytes(bytes(size))
        return Entry(path=path, kind=Kind.FILE, mode=0o644, source=source)

    linked = Entry(path="bin/b", kind=Kind.FILE, mode=0o644, same_as="bin/a")
    link = Entry(path="usr/bin/l", kind=Kind.SYMLINK, mode=0o755, target="x")
    base = Layer("base", [file("bin/a", 1000), linked, file("usr/bin/c", 50), link])
    return merge([base, Layer("python", [file("usr/local/bin/python", 5000)])])


def test_parts_add_up_to_the_whole(tree: Tree) -> None:
    sizes = parts(tree, measure(tree))
    assert sizes.whole == Part(len(tree.entries), 6050)
    for group in (sizes.by_layer, sizes.by_folder):
        assert sum(part.size_bytes for part in group.values()) == 6050
        assert sum(part.paths for part in group.values()) == sizes.whole.paths


def test_hard_links_count_once(tree: Tree) -> None:
    assert parts(tree, measure(tree)).by_folder["bin"] == Part(3, 1000)


def test_the_largest_comes_first(tree: Tree) -> None:
    sizes = parts(tree, measure(tree))
    assert list(sizes.by_layer)[:2] == ["python", "base"]
    assert list(sizes.by_folder)[:3] == ["usr/local", "bin", "usr/bin"]


def test_json_and_table_say_the_same(tree: Tree) -> None:
    sizes = parts(tree, measure(tree))
    document = json.loads(to_json(sizes))
    assert document["whole"] == {"paths": sizes.whole.paths, "bytes": 6050}
    assert document["layers"]["python"]["bytes"] == 5000
    text = io.StringIO()
    Console(width=100, file=text).print(to_table(sizes))
    assert all(name in text.getvalue() for name in (*sizes.by_layer, *sizes.by_folder))


def test_a_file_that_is_gone_is_told(tree: Tree) -> None:
    source = tree.by_path()["bin/a"].source
    assert source is not None
    source.unlink()
    with pytest.raises(UsageError, match="bin/a"):
        measure(tree)
