"""Linkage: every program of a tree finds its libraries, or is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imagebuilder.elf import Elf
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.linkage import (
    linkage_problems,
    read_elves,
    require_linkage,
)
from imagebuilder.filesystem.tree import Layer, Tree, merge
from maculaos.errors import UsageError
from smallrelease import elf

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


class Stage:
    """A tree of files and links that grows by one call each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: list[Entry] = []

    def file(self, path: str, content: bytes) -> Stage:
        source = self._folder / str(len(self._entries))
        source.write_bytes(content)
        self._entries.append(Entry(path=path, kind=Kind.FILE, mode=0o755, source=source))
        return self

    def link(self, path: str, target: str) -> Stage:
        self._entries.append(Entry(path=path, kind=Kind.SYMLINK, mode=0o755, target=target))
        return self

    def tree(self) -> Tree:
        return merge([Layer("test", self._entries)])

    def problems(self) -> list[str]:
        elves, broken = read_elves(self.tree())
        return broken + linkage_problems(self.tree().entries, elves)


PROGRAM = elf(("libx.so.1",))
LIBRARY = elf(soname="libx.so.1")


@pytest.mark.parametrize("folder", ["lib", "usr/lib", "usr/local/lib", "lib/casper"])
def test_a_library_is_found_where_rtld_looks(stage: Stage, folder: str) -> None:
    assert stage.file("bin/x", PROGRAM).file(f"{folder}/libx.so.1", LIBRARY).problems() == []


def test_a_library_elsewhere_is_not_found(stage: Stage) -> None:
    stage.file("bin/x", PROGRAM).file("opt/lib/libx.so.1", LIBRARY)
    assert stage.problems() == ["bin/x: needs libx.so.1, which is not there"]
    with pytest.raises(UsageError, match=r"needs libx.so.1.*; keep the library"):
        require_linkage(stage.tree())


@pytest.mark.parametrize(
    "runpath", ["/opt/lib", "$ORIGIN/../opt/lib", "/none:${ORIGIN}/../opt/lib"]
)
def test_a_search_path_of_its_own_is_followed(stage: Stage, runpath: str) -> None:
    stage.file("bin/x", elf(("libx.so.1",), runpath=runpath)).file("opt/lib/libx.so.1", LIBRARY)
    assert stage.problems() == []


def test_runpath_switches_rpath_off() -> None:
    target = (64, "<", 62)
    program = Elf(target, is_dynamic=True, needed=("libx.so",), rpath=("/opt",), runpath=("/none",))
    library = Elf(target, is_dynamic=True)
    entries = [Entry(path="opt/libx.so", kind=Kind.FILE, mode=0o644)]
    elves = {"bin/x": program, "opt/libx.so": library}
    assert len(linkage_problems(entries, elves)) == 1


def test_links_are_followed_within_the_tree(stage: Stage) -> None:
    stage.file("bin/x", PROGRAM).file("real/libx.so.1.2", LIBRARY)
    stage.link("usr/lib/libx.so.1", "../lib64/libx.so.1").link("usr/lib64", "/real")
    stage.link("real/libx.so.1", "libx.so.1.2")
    assert stage.problems() == []


def test_links_in_a_circle_lead_nowhere(stage: Stage) -> None:
    stage.file("bin/x", PROGRAM).link("lib/libx.so.1", "libx.so.1")
    assert stage.problems() == ["bin/x: needs libx.so.1, which is not there"]


def test_libraries_need_libraries_too(stage: Stage) -> None:
    stage.file("bin/x", PROGRAM).file("lib/libx.so.1", elf(("liby.so.2",), soname="libx.so.1"))
    assert stage.problems() == ["lib/libx.so.1: needs liby.so.2, which is not there"]


def test_a_missing_interpreter_is_told(stage: Stage) -> None:
    stage.file("bin/x", elf(interpreter="/libexec/ld-elf.so.1"))
    assert stage.problems() == ["bin/x: its interpreter /libexec/ld-elf.so.1 is not there"]


def test_a_library_for_another_machine_does_not_serve(stage: Stage) -> None:
    arm = bytearray(LIBRARY)
    arm[18:20] = (183).to_bytes(2, "little")
    stage.file("bin/x", PROGRAM).file("lib/libx.so.1", bytes(arm))
    assert stage.problems() == ["bin/x: needs libx.so.1, which is not there"]


def test_a_text_file_under_a_librarys_name_does_not_serve(stage: Stage) -> None:
    stage.file("bin/x", PROGRAM).file("lib/libx.so.1", b"INPUT(libx.so)")
    assert len(stage.problems()) == 1


def test_the_kernel_and_its_modules_are_left_out(stage: Stage) -> None:
    assert stage.file("boot/kernel/pf.ko", b"\x7fELF rubbish").problems() == []


def test_a_damaged_program_is_told(stage: Stage) -> None:
    assert len(stage.file("bin/x", PROGRAM[:80]).problems()) == 1
    assert stage.file("bin/y", b"\x7fELF").problems()
