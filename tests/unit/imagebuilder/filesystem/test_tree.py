"""Trees: what layers over one another become."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.tree import Layer, Tree, TreeConflict, is_clean, merge, order, parents


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path=path, kind=Kind.FOLDER, mode=mode)


def file(path: str, source: str = "one", mode: int = 0o644) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=mode, source=Path(source))


def hard(path: str, same_as: str) -> Entry:
    return Entry(path=path, kind=Kind.FILE, mode=0o644, same_as=same_as)


def symlink(path: str, target: str = "x") -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target)


def laid(*layers: list[Entry]) -> Tree:
    return merge(Layer(f"layer{number}", entries) for number, entries in enumerate(layers))


def test_a_later_layer_replaces_an_earlier_one() -> None:
    tree = laid([file("etc/rc.conf", "old")], [file("etc/rc.conf", "new", 0o600)])
    entry = tree.by_path()["etc/rc.conf"]
    assert (entry.source, entry.mode) == (Path("new"), 0o600)
    assert tree.layer_of["etc/rc.conf"] == "layer1"


def test_the_root_and_implied_folders_are_made() -> None:
    tree = laid([file("usr/local/bin/macula")])
    assert [entry.path for entry in tree.entries] == [
        "",
        "usr",
        "usr/local",
        "usr/local/bin",
        "usr/local/bin/macula",
    ]
    assert {entry.mode for entry in tree.entries[:4]} == {0o755}


def test_an_implied_folder_takes_the_mode_that_a_layer_gives_it() -> None:
    tree = laid([file("tmp/x"), folder("tmp", 0o1777)], [file("tmp/y")])
    assert tree.by_path()["tmp"].mode == 0o1777


@pytest.mark.parametrize(
    ("below", "above"),
    [
        ([folder("a")], [file("a")]),
        ([file("a")], [folder("a")]),
        ([file("a")], [file("a/b")]),
        ([symlink("a")], [file("a/b")]),
        ([symlink("a")], [folder("a")]),
        ([file("a/b")], [symlink("a")]),
        ([], [hard("a", "b")]),
        ([folder("b")], [hard("a", "b")]),
        ([], [file("../a")]),
        ([], [file("a//b")]),
        ([], [file("/a")]),
        ([], [file("a/")]),
        ([], [file("a/./b")]),
        ([], [file("")]),
    ],
)
def test_what_cannot_be_is_told_with_layer_and_path(below: list[Entry], above: list[Entry]) -> None:
    with pytest.raises(TreeConflict) as caught:
        laid(below, above)
    (problem,) = caught.value.problems
    assert problem.startswith("layer1: ")


def test_every_conflict_is_told_at_once_and_few_are_shown() -> None:
    below = [folder(f"d{number}") for number in range(9)]
    with pytest.raises(TreeConflict, match="and 4 more") as caught:
        laid(below, [file(f"d{number}") for number in range(9)])
    assert len(caught.value.problems) == 9


def test_a_file_may_replace_a_symbolic_link() -> None:
    assert laid([symlink("a")], [file("a")]).by_path()["a"].kind is Kind.FILE


def test_the_bytes_of_hard_links_lie_at_their_first_path() -> None:
    tree = laid([file("z", "bytes", 0o555), hard("a", "z"), hard("m", "a")])
    assert [(entry.path, entry.same_as) for entry in tree.entries[1:]] == [
        ("a", ""),
        ("m", "a"),
        ("z", "a"),
    ]
    assert tree.entries[1].source == Path("bytes")
    assert {entry.mode for entry in tree.entries[1:]} == {0o555}


def test_a_layer_may_name_a_hard_link_before_its_file() -> None:
    tree = laid([hard("bin/[", "bin/test"), file("bin/test", "bytes", 0o555)])
    first, second = tree.by_path()["bin/["], tree.by_path()["bin/test"]
    assert (first.source, first.mode, second.same_as) == (Path("bytes"), 0o555, "bin/[")


def test_replacing_one_of_two_hard_links_leaves_the_other_its_bytes() -> None:
    tree = laid([file("a", "old"), hard("b", "a")], [file("a", "new")])
    assert tree.by_path()["a"].source == Path("new")
    assert tree.by_path()["b"] == file("b", "old")


def test_hard_links_hold_together_when_their_first_path_is_removed() -> None:
    tree = laid([file("a", "bytes", 0o4555), hard("b", "a"), hard("c", "a")])
    left = tree.only({"", "b", "c"})
    assert left.by_path()["b"] == file("b", "bytes", 0o4555)
    assert left.by_path()["c"].same_as == "b"
    assert set(left.layer_of) == {"", "b", "c"}


def test_equal_files_are_not_hard_links() -> None:
    tree = laid([file("a", "same"), file("b", "same")])
    assert not any(entry.is_hard_link for entry in tree.entries)


NAMES = st.sampled_from(["a", "b", "a b", "a-b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@st.composite
def layers(draw: st.DrawFn) -> list[list[Entry]]:
    """Layers that fit together: files at even depth of a name's length, folders elsewhere."""
    files = draw(st.lists(st.lists(PATHS, max_size=6), max_size=4))
    return [
        [file(f"{path}/file", f"{number}") for path in paths] for number, paths in enumerate(files)
    ]


@given(layers())
def test_parents_come_before_what_they_hold(stack: list[list[Entry]]) -> None:
    seen: set[str] = set()
    for entry in laid(*stack).entries:
        assert all(parent in seen for parent in parents(entry.path))
        assert entry.path not in seen
        seen.add(entry.path)


@given(layers())
def test_the_last_layer_that_has_a_path_wins(stack: list[list[Entry]]) -> None:
    tree = laid(*stack)
    for number, entries in enumerate(stack):
        for entry in entries:
            later = [each.path for above in stack[number + 1 :] for each in above]
            if entry.path not in later:
                assert tree.by_path()[entry.path].source == Path(str(number))


@given(layers())
def test_laying_a_tree_over_itself_changes_nothing(stack: list[list[Entry]]) -> None:
    tree = laid(*stack)
    assert laid(list(tree.entries), list(tree.entries)).entries == tree.entries
    assert tree.only({entry.path for entry in tree.entries}).entries == tree.entries


@given(st.lists(PATHS))
def test_order_puts_a_folder_and_its_content_together(paths: list[str]) -> None:
    ordered = sorted({*paths, *(parent for path in paths for parent in parents(path))}, key=order)
    for index, path in enumerate(ordered):
        inside = [each.startswith(f"{path}/") for each in ordered[index + 1 :]]
        assert path == "" or inside == sorted(inside, reverse=True)


def test_clean_paths_are_relative_and_plain() -> None:
    assert all(map(is_clean, ["", "a", "a/b", "..a/b..", "a b"]))
    assert not any(map(is_clean, ["/", "a/", "./a", "a/..", "a\0b", "a//b"]))
