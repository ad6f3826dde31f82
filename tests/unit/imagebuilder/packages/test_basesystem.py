"""Base packages: the list, what it needs by name and by library, and which release they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.packages.basesystem import (
    BaseSelection,
    choose,
    parse_base_selection,
    release_of,
)
from imagebuilder.packages.catalogue import Dependency, Package, catalogue_of
from maculaos.errors import UsageError

ROOT = Path(__file__).parents[4]
REPOSITORY = '[repository]\nurl = "https://x.invalid/{major}/{arch}/{minor}"\ntrusted = []\n'
NEVER = '[never]\nkinds = ["dev", "dbg"]\nwhy = "small"\n'
LIST = '[[package]]\nname = "FreeBSD-runtime"\nwhy = "sh"\n'


def package(name: str, version: str = "15.1", *deps: str, **more: Any) -> Package:
    return Package(
        name=f"FreeBSD-{name}",
        version=version,
        origin=f"base/FreeBSD-{name}",
        sha256="ab" * 32,
        path=f"All/{name}.pkg",
        deps={f"FreeBSD-{one}": Dependency("base") for one in deps},
        **more,
    )


def selection(more: str = "") -> BaseSelection:
    return parse_base_selection(REPOSITORY + NEVER + LIST + more)


def chosen(packages: list[Package], more: str = "") -> tuple[set[str], tuple[str, ...]]:
    choice = choose(catalogue_of(packages, "test"), selection(more))
    return {one.name.removeprefix("FreeBSD-") for one in choice.packages}, choice.notes


def test_the_list_of_the_image_is_read_and_takes_no_kind_that_it_never_has() -> None:
    own = parse_base_selection((ROOT / "image/pkgbase.toml").read_text())
    needed = {one.name for one in own.wanted if not one.may_lack}
    assert {"FreeBSD-runtime", "FreeBSD-kernel-generic", "FreeBSD-bootloader"} <= needed
    assert all(one.why for one in own.wanted)
    refused = ("clibs-dev", "clibs-dev-lib32", "runtime-dbg", "kernel-man", "src-sys", "tests")
    assert all(own.refuses(f"FreeBSD-{name}") for name in refused)
    assert not any(
        own.refuses(f"FreeBSD-{name}") for name in ("devd", "devmatch", "kernel-generic")
    )
    url = "https://pkg.FreeBSD.org/FreeBSD:15:amd64/base_release_1"
    assert own.repository_url("15.1", "amd64") == url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (REPOSITORY + LIST, "never"),
        (REPOSITORY + NEVER + LIST + LIST, "comes twice"),
        (REPOSITORY + NEVER + LIST.replace("runtime", "runtime-dev"), "FreeBSD-runtime-dev is no"),
        (REPOSITORY + NEVER + LIST.replace("FreeBSD-runtime", "git"), "git is no package"),
        (REPOSITORY + NEVER + LIST + "colour = 1\n", "colour"),
        ("[", "x.toml"),
    ],
)
def test_a_list_that_cannot_be_is_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_base_selection(text, "x.toml")


def test_what_is_needed_by_name_or_by_library_comes_along_and_nothing_else() -> None:
    names, notes = chosen(
        [
            package("runtime", "15.1", "rc", shlibs_required=["libc.so.7", "libx.so.1"]),
            package("rc"),
            package("clibs", shlibs_provided=["libc.so.7"], shlibs_required=["liby.so.2"]),
            package("y-lib", shlibs_provided=["liby.so.2"]),
            package("a-dev", shlibs_provided=["libx.so.1"]),
            package("x-lib", shlibs_provided=["libx.so.1"]),
            package("clang", shlibs_provided=["libclang.so.1"]),
        ]
    )
    assert names == {"runtime", "rc", "clibs", "y-lib", "x-lib"}
    assert notes == ()


def test_a_kind_that_is_never_taken_is_left_out_even_where_it_is_wanted() -> None:
    names, notes = chosen([package("runtime", "15.1", "x-dev", "rc"), package("rc")])
    assert names == {"runtime", "rc"}
    assert notes == ("FreeBSD-x-dev is left out, which FreeBSD-runtime wants",)


def test_a_library_that_nobody_brings_is_a_note() -> None:
    _, notes = chosen([package("runtime", shlibs_required=["libgone.so.1"])])
    assert notes == ("no package brings libgone.so.1, which FreeBSD-runtime needs",)


def test_what_may_be_lacking_is_a_note_and_what_may_not_is_one_line() -> None:
    more = '[[package]]\nname = "FreeBSD-ntp"\nwhy = "clock"\n'
    _, notes = chosen([package("runtime")], f"{more}may_lack = true\n")
    assert notes == ("FreeBSD-ntp is not in this release: clock",)
    with pytest.raises(UsageError, match="has no FreeBSD-runtime, FreeBSD-ntp; take") as caught:
        chosen([package("rc")], more)
    assert "\n" not in str(caught.value)


def test_a_dependency_that_the_repository_lacks_is_refused_with_both_names() -> None:
    with pytest.raises(UsageError, match=r"FreeBSD-rc .*, which FreeBSD-runtime needs"):
        chosen([package("runtime", "15.1", "rc")])


@pytest.mark.parametrize(
    ("versions", "asked", "release"),
    [
        (["15.1", "15.1"], "15.1-RELEASE", "15.1-RELEASE"),
        (["15.1", "15.1p12", "15.1p5"], "15.1-RELEASE", "15.1-RELEASE-p12"),
        (["14.3p6"], "14.3-RELEASE-p6", "14.3-RELEASE-p6"),
        (["15.2"], "15.2-STABLE", "15.2-STABLE"),
    ],
)
def test_the_newest_patch_level_is_the_release(
    versions: list[str], asked: str, release: str
) -> None:
    packages = [package(f"p{number}", version) for number, version in enumerate(versions)]
    assert release_of(packages, asked) == release


def test_a_version_without_a_release_is_told_by_its_annotation() -> None:
    snapshot = package("runtime", "15.snap2026", annotations={"FreeBSD_version": "1501500"})
    assert release_of([snapshot], "15.1-STABLE") == "15.1-STABLE"
    with pytest.raises(UsageError, match="no package of the base system tells its release"):
        release_of([package("runtime", "current")], "15.1-RELEASE")


@pytest.mark.parametrize("asked", ["15.0-RELEASE", "15.1-RELEASE-p3"])
def test_packages_of_another_release_are_refused(asked: str) -> None:
    with pytest.raises(UsageError, match=r"15\.1"):
        release_of([package("runtime", "15.1p2")], asked)


@given(st.lists(st.sets(st.integers(0, 7), max_size=3), min_size=8, max_size=8))
def test_the_closure_holds_every_library_that_it_needs(needs: list[set[int]]) -> None:
    packages = [
        package(
            "runtime" if number == 0 else f"p{number}",
            shlibs_provided=[f"lib{number}.so.1"],
            shlibs_required=[f"lib{one}.so.1" for one in sorted(wanted)],
        )
        for number, wanted in enumerate(needs)
    ]
    choice = choose(catalogue_of(packages, "test"), selection())
    provided = {library for one in choice.packages for library in one.shlibs_provided}
    assert all(provided.issuperset(one.shlibs_required) for one in choice.packages)
    reached, todo = {0}, [0]
    while todo:
        new = needs[todo.pop()] - reached
        reached |= new
        todo += new
    assert len(choice.packages) == len(reached)
