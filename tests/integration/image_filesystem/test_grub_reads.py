"""GRUB reads a slot too: a second reader that shares no code with the writer or with dissect.ffs.

Symbolic links are left to dissect.ffs: GRUB 2.06 loses the last letter of their text, also in
file systems that makefs wrote.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.tree import Layer, Tree, merge
from imagebuilder.filesystem.ufs import write_ufs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imagebuilder.filesystem.accounts import Accounts

MIB = 1 << 20
BLOCK = 32768


class Grub:
    """GRUB's tool for trying its file systems, on one image."""

    def __init__(self, tool: str, image: Path) -> None:
        self._argv = (tool, str(image))

    def differs(self, path: str, local: Path) -> str:
        """Compare what lies at ``path`` with a local file, or with all that a folder holds."""
        argv = (*self._argv, "cmp", f"(loop0)/{path}", str(local))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.stderr or ("" if done.returncode == 0 else f"status {done.returncode}")

    def names(self, path: str) -> list[str]:
        """The names in a folder, cut at spaces and sorted; folders end in ``/``."""
        argv = (*self._argv, "ls", f"(loop0)/{path}/")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        return sorted(done.stdout.split())


@pytest.fixture
def written(accounts: Accounts, tmp_path: Path) -> Callable[[Tree], Grub]:
    """Write a tree, and open it with GRUB."""
    tool = shutil.which("grub-fstest")
    if tool is None:
        pytest.skip("needs grub-fstest (package grub-common)")

    def write(tree: Tree) -> Grub:
        image = tmp_path / "slot.ufs"
        write_ufs(tree, accounts, image, size=170 * MIB, time_s=1_750_000_000)
        return Grub(tool, image)

    return write


def laid_out(tree: Tree, folder: Path) -> Path:
    """The folders and files of a tree as they would lie on this machine."""
    folder.mkdir()
    for entry in tree.entries:
        if entry.kind is Kind.FOLDER:
            (folder / entry.path).mkdir(exist_ok=True)
        elif entry.source is not None:
            os.link(entry.source, folder / entry.path)
    return folder


def test_every_file_and_folder_of_the_small_release_is_there(
    make_tree: Callable[[Path], Tree], written: Callable[[Tree], Grub], tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "work")
    grub = written(tree)
    assert grub.differs("", laid_out(tree, tmp_path / "laid out")) == ""
    for folder in (entry.path for entry in tree.entries if entry.kind is Kind.FOLDER):
        inside = {
            entry.path.rpartition("/")[2] + "/" * (entry.kind is Kind.FOLDER)
            for entry in tree.entries
            if entry.path and entry.path.rpartition("/")[0] == folder
        }
        seen = [name for name in inside if not name.startswith(".")]
        assert grub.names(folder) == sorted(" ".join(seen).split())


def test_a_difference_is_told(
    make_tree: Callable[[Path], Tree], written: Callable[[Tree], Grub], tmp_path: Path
) -> None:
    grub = written(make_tree(tmp_path / "work"))
    other = tmp_path / "other"
    other.write_text(smallrelease.ACCOUNTS.replace("toor", "tour"))
    assert "compare fail" in grub.differs("etc/master.passwd", other)
    other.write_bytes(b"shorter")
    assert grub.differs("etc/master.passwd", other) != ""
    assert "not found" in grub.differs("etc/nothing", other)


def test_tails_holes_and_every_level_of_pointers_are_whole(
    written: Callable[[Tree], Grub], tmp_path: Path
) -> None:
    sizes = [0, 1, 4095, 4096, 4097, 7 * 4096 + 1, BLOCK, 12 * BLOCK, 12 * BLOCK + 1, 40 * BLOCK]
    entries = []
    for size in sizes:
        source = tmp_path / str(size)
        source.write_bytes(smallrelease.noise(str(size), size))
        for copy in range(3):
            path = f"folder/{size}-{copy}"
            entries.append(Entry(path=path, kind=Kind.FILE, mode=0o644, source=source))
    entries[-1] = Entry(
        **{field: getattr(entries[-1], field) for field in ("path", "kind", "mode", "source")},
        same_as="folder/4097-0",
    )
    holes = tmp_path / "holes"
    reach = (12 + 4096) * BLOCK
    with holes.open("wb") as file:
        for offset in (0, 12 * BLOCK, reach - 4, reach, reach + 2 * BLOCK):
            file.seek(offset)
            file.write(f"at {offset}".encode())
    entries.append(Entry(path="holes", kind=Kind.FILE, mode=0o644, source=holes))
    tree = merge([Layer("one", entries)])
    assert written(tree).differs("", laid_out(tree, tmp_path / "laid out")) == ""


def test_every_one_of_thousands_of_names_is_found(
    written: Callable[[Tree], Grub], tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"the same everywhere")
    first = f"d/{'long-name-' * 10}0"
    entries = [
        Entry(
            path=f"d/{'long-name-' * 10}{number}",
            kind=Kind.FILE,
            mode=0o644,
            source=source,
            same_as=first if number else "",
        )
        for number in range(4000)
    ]
    grub = written(merge([Layer("one", entries)]))
    assert grub.names("d") == sorted(entry.path.rpartition("/")[2] for entry in entries)
    for number in (0, 1, 1999, 3999):
        assert grub.differs(entries[number].path, source) == ""
