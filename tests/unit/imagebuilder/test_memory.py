"""Templates of folders in memory: copies that share their bytes, and what fits."""

from __future__ import annotations

from pathlib import Path

import pytest

import imageyard
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.tree import Layer, Tree, merge
from imagebuilder.memory import (
    Template,
    lay_templates,
    needed_bytes,
    parse_layout,
    size_problem,
)
from maculaos.errors import UsageError

ETC = Template(folder="etc", template="conf/base/etc", how="copy", why="x")


def file(path: str, mode: int = 0o644) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=mode, source=Path(f"/store/{path}"))


def tree() -> Tree:
    base = [
        Entry(path="etc", kind=Kind.FOLDER, mode=0o750, flags=("schg",)),
        file("etc/group", 0o640),
        Entry(path="etc/alias", kind=Kind.SYMLINK, mode=0o755, target="mail/aliases"),
        Entry(path="etc/other", kind=Kind.FILE, mode=0o640, same_as="etc/group"),
        file("etcetera"),
    ]
    return merge([Layer("base", base), Layer("mine", [file("conf/base/etc/md_size")])])


def test_a_copy_has_the_same_bytes_owner_mode_and_links() -> None:
    laid = lay_templates(tree(), [ETC])
    found = laid.by_path()
    template = found["conf/base/etc"]
    assert (template.mode, template.flags) == (0o755, ()), "a folder that is there stays"
    first = {entry.same_as or entry.path for path, entry in found.items() if "group" in path}
    assert first == {"conf/base/etc/group"}
    assert found["etc/other"].same_as == found["etc/group"].same_as == "conf/base/etc/group"
    assert found["conf/base/etc/alias"].target == "mail/aliases"
    assert found["etc/group"].mode == found["conf/base/etc/group"].mode == 0o640
    assert "conf/base/etcetera" not in found


def test_layers_keep_their_paths_and_own_files_of_the_template_stay() -> None:
    laid = lay_templates(tree(), [ETC])
    assert laid.layer_of["etc/group"] == "base"
    assert laid.layer_of["conf/base/etc/group"] == "templates"
    assert laid.layer_of["conf/base/etc/md_size"] == "mine"
    assert "etc/md_size" not in laid.layer_of
    assert set(laid.layer_of) == set(laid.by_path())


def test_laying_twice_is_laying_once() -> None:
    once = lay_templates(tree(), [ETC])
    assert lay_templates(once, [ETC]) == once


def test_a_move_leaves_an_empty_folder() -> None:
    moved = Template(folder="etc", template="conf/base/etc", how="move", why="x")
    found = lay_templates(tree(), [moved]).by_path()
    assert not [path for path in found if path.startswith("etc/")]
    assert found["etc"].kind is Kind.FOLDER
    assert found["conf/base/etc/group"].source == Path("/store/etc/group")
    assert found["conf/base/etc/other"].same_as == "conf/base/etc/group"


def test_a_folder_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match="/var cannot lie in memory"):
        lay_templates(tree(), [Template(folder="var", template="c/var", how="copy", why="x")])


def test_what_a_template_takes_is_counted_in_pages_and_names() -> None:
    laid = lay_templates(tree(), [ETC])
    sizes = {"conf/base/etc/group": 4097, "conf/base/etc/md_size": 1}
    # Four names; the hard link becomes a file of its own.
    assert needed_bytes(laid, ETC, sizes) == 4 * 512 + 2 * 8192 + 4096
    assert size_problem(laid, ETC, sizes, "44\n") == ""
    assert "22016 bytes, the content takes 22528" in size_problem(laid, ETC, sizes, "43")
    assert "is no number" in size_problem(laid, ETC, sizes, "many")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"folder": "/etc"}, "names no folder"),
        ({"template": "conf/../etc"}, "names no folder"),
        ({"template": "etc/etc"}, "lies in etc"),
        ({"how": "link"}, "Invalid enum value"),
        ({"why": 3}, "Expected `str`"),
        ({"more": "x"}, "unknown field"),
    ],
)
def test_a_mistake_in_the_layout_is_told_with_its_file(
    change: dict[str, object], told: str
) -> None:
    fields = {"folder": "etc", "template": "conf/base/etc", "how": "copy", "why": "x", **change}
    text = "[[memory]]\n" + "".join(f"{key} = {value!r}\n" for key, value in fields.items())
    with pytest.raises(UsageError, match=told) as caught:
        parse_layout(text, "layout.toml")
    assert str(caught.value).startswith("layout.toml: ")


def test_the_layout_of_this_checkout_is_read() -> None:
    text = (imageyard.ROOT / "image/layout.toml").read_text()
    assert {one.folder for one in parse_layout(text, "layout.toml")} == {"etc", "var"}
