"""Pruning: what goes, what stays, and what is said about it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.prune import (
    PruneRules,
    Rule,
    compile_pattern,
    parse_rules,
    prune,
)
from imagebuilder.filesystem.tree import Layer, Tree, merge, parents
from maculaos.errors import UsageError

ROOT = Path(__file__).parents[4]


def tree_of(*paths: str, links: dict[str, str] | None = None) -> Tree:
    """Files at ``paths``; ``links`` are hard links by path."""
    entries = [
        Entry(path=path, kind=Kind.FILE, mode=0o644, source=Path("the same bytes"))
        for path in paths
    ]
    entries += [
        Entry(path=path, kind=Kind.FILE, mode=0o644, same_as=first)
        for path, first in (links or {}).items()
    ]
    return merge([Layer("base", entries)])


def rules(remove: tuple[str, ...], keep: tuple[str, ...] = ()) -> PruneRules:
    return PruneRules((Rule(remove, "test"),), (Rule(keep, "test"),) if keep else ())


def left(tree: Tree, remove: tuple[str, ...], keep: tuple[str, ...] = ()) -> set[str]:
    pruned, _ = prune(tree, rules(remove, keep), {})
    return {entry.path for entry in pruned.entries if entry.kind is Kind.FILE}


def test_a_folder_goes_with_all_that_is_in_it() -> None:
    tree = tree_of("usr/share/man/man1/ls.1", "usr/share/misc/x")
    assert left(tree, ("usr/share/man",)) == {"usr/share/misc/x"}
    pruned, report = prune(tree, rules(("usr/share/man",)), {"usr/share/man/man1/ls.1": 7})
    assert "usr/share/man" not in pruned.by_path()
    assert (report.removed[0].paths, report.size_bytes) == (3, 7)


def test_what_is_kept_keeps_the_folders_above_it() -> None:
    tree = tree_of("locale/C.UTF-8/LC_CTYPE", "locale/de/LC_CTYPE")
    assert left(tree, ("locale",), ("locale/C.UTF-8",)) == {"locale/C.UTF-8/LC_CTYPE"}


def test_a_pattern_that_fits_nothing_is_a_note() -> None:
    _, report = prune(tree_of("bin/sh"), rules(("usr/bin/cc*", "bin/sh"), ("none",)), {})
    assert report.notes == ("nothing to remove at usr/bin/cc*", "nothing to keep at none")


def test_hard_links_survive_the_removal_of_their_first_path() -> None:
    tree = tree_of("a/first", links={"b/second": "a/first"})
    pruned, report = prune(tree, rules(("a",)), {"a/first": 100, "b/second": 0})
    assert pruned.by_path()["b/second"].source == Path("the same bytes")
    # The bytes are still there, so nothing was won.
    assert report.size_bytes == 0


def test_equal_bytes_elsewhere_do_not_hide_what_was_won() -> None:
    _, report = prune(tree_of("a", "b"), rules(("a",)), {"a": 100, "b": 100})
    assert report.size_bytes == 100


def test_a_path_counts_for_the_first_rule_that_fits_it() -> None:
    both = PruneRules((Rule(("a",), "first"), Rule(("a/*", "*"), "second")))
    _, report = prune(tree_of("a/x", "b"), both, {"a/x": 5, "b": 2})
    assert [(each.reason, each.size_bytes) for each in report.removed] == [
        ("first", 5),
        ("second", 2),
    ]


def test_the_root_always_stays() -> None:
    pruned, _ = prune(tree_of("a", "b/c"), rules(("**",)), {})
    assert [entry.path for entry in pruned.entries] == [""]


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("usr/bin/*", "usr/bin/cc", "usr/bin/a/b"),
        ("usr/lib/*.a", "usr/lib/libc.a", "usr/lib/libc.so"),
        ("**/*.debug", "a.debug", "a.debug/x"),
        ("**/*.debug", "boot/kernel/a.debug", "a.debugs"),
        ("a/**/z", "a/z", "b/z"),
        ("a/**/z", "a/b/c/z", "a/bz"),
        ("a/**", "a/b/c", "a"),
        ("ld.?", "ld.x", "ld./"),
        ("[a-c]x", "bx", "dx"),
        ("[!a-c]x", "dx", "bx"),
        ("a[!b]c", "axc", "a/c"),
        ("usr/bin/[", "usr/bin/[", "usr/bin/x"),
        ("a+(b).c", "a+(b).c", "aab.c"),
        ("a[]b]c", "a]c", "axc"),
        ("[ab^]", "^", "c"),
    ],
)
def test_patterns_fit_as_written(pattern: str, fits: str, does_not: str) -> None:
    compiled = compile_pattern(pattern)
    assert compiled.fullmatch(fits)
    assert not compiled.fullmatch(does_not)


NAMES = st.text("ab.[*", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@given(PATHS, st.text("ab/.*?[]!", min_size=1, max_size=8))
def test_a_star_never_crosses_a_folder(path: str, text: str) -> None:
    pattern = re.sub(r"\*+", "*", text)
    if compile_pattern(pattern).fullmatch(path):
        assert path.count("/") == pattern.count("/")


@given(st.sets(PATHS, max_size=8), st.sets(PATHS, max_size=3), st.sets(PATHS, max_size=2))
def test_what_is_left_is_a_tree_without_what_was_removed(
    paths: set[str], remove: set[str], keep: set[str]
) -> None:
    tree = tree_of(*(f"{path}/file" for path in paths))
    pruned, _ = prune(tree, rules(tuple(sorted(remove)), tuple(sorted(keep))), {})
    found = pruned.by_path()
    for entry in pruned.entries:
        assert all(parent in found for parent in parents(entry.path))
    again, _ = prune(pruned, rules(tuple(sorted(remove)), tuple(sorted(keep))), {})
    assert again == pruned


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "Invalid initial character"),
        ("[[delete]]\n", "delete is no rule"),
        ("remove = 1", "no list of tables"),
        ('[[remove]]\npaths = ["a"]', "needs paths and reason"),
        ('[[remove]]\npaths = ["a"]\nreason = " "', "remove 1: the reason is empty"),
        ('[[keep]]\npaths = []\nreason = "x"', "keep 1: paths is no list"),
        ('[[keep]]\npaths = ["/a"]\nreason = "x"', "'/a' is no pattern"),
        ('[[keep]]\npaths = ["a/"]\nreason = "x"', "'a/' is no pattern"),
        ('[[keep]]\npaths = ["[z-a]"]\nreason = "x"', "bad character range"),
        ('[[remove]]\npaths = [1]\nreason = "x"', "1 is no pattern"),
    ],
)
def test_a_mistake_in_the_rules_is_told_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as caught:
        parse_rules(text, "prune.toml")
    assert str(caught.value).startswith("prune.toml")


def test_our_own_rules_prune_the_small_release() -> None:
    members = [*smallrelease.base_members(), *smallrelease.kernel_members()]
    tree = tree_of(
        *(each.path for each in members if each.content is not None),
        links={each.path: each.hard_link for each in members if each.hard_link},
    )
    text = (ROOT / "image" / "prune.toml").read_text()
    pruned, _ = prune(tree, parse_rules(text, "image/prune.toml"), {})
    gone = {entry.path for entry in tree.entries} - {entry.path for entry in pruned.entries}
    assert {"usr/bin/cc", "usr/bin/clang", "rescue/sh", "usr/lib/libc.a", "usr/tests"} <= gone
    assert {"boot/kernel/snd_hda.ko", "boot/kernel/iwlwifi.ko", "usr/share/man"} <= gone
    boot = {path for path in gone if path.startswith("boot/")}
    assert boot == {"boot/kernel/snd_hda.ko", "boot/kernel/iwlwifi.ko"}
    assert not {path for path in gone if path.startswith(("bin/", "sbin/", "etc/", "lib/", "var"))}
