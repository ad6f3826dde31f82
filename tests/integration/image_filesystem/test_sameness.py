"""Two builds of the same sets are the same bytes, and FreeBSD would mount them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.filesystem.mountable import superblock_problems
from imagebuilder.filesystem.superblock import read_superblock
from imagebuilder.filesystem.ufs import write_ufs

if TYPE_CHECKING:
    from collections.abc import Callable

    from imagebuilder.filesystem.accounts import Accounts
    from imagebuilder.filesystem.tree import Tree

MIB = 1 << 20
TIME_S = 1_750_000_000
ROOT = Path(__file__).parents[3]

# A whole build in a process of its own: other addresses, another hash seed, another folder.
BUILD = """
import sys
from pathlib import Path
import smallrelease
from imagebuilder.filesystem.accounts import parse_accounts
from imagebuilder.filesystem.tree import Layer, merge
from imagebuilder.filesystem.ufs import write_ufs
from imagebuilder.packages.store import ContentStore
from imagebuilder.release.archive import read_set

work = Path(sys.argv[1])
smallrelease.make(work / "sets")
store = ContentStore(work / "store")
names = ("base", "kernel")
tree = merge(Layer(name, read_set(work / "sets" / f"{name}.txz", store)) for name in names)
accounts = parse_accounts(smallrelease.ACCOUNTS, smallrelease.GROUP)
write_ufs(tree, accounts, work / "slot.ufs", size=8 << 20, time_s=1750000000)
"""


def built(work: Path, seed: str) -> bytes:
    path = ":".join(str(ROOT / folder) for folder in (".", "build", "tests"))
    subprocess.run(
        [sys.executable, "-c", BUILD, str(work)],
        env={"PYTHONPATH": path, "PYTHONHASHSEED": seed, "TZ": f"UTC-{seed}"},
        check=True,
        timeout=50,
    )
    return (work / "slot.ufs").read_bytes()


def test_two_builds_in_different_folders_and_processes_are_the_same(tmp_path: Path) -> None:
    first = built(tmp_path / "one", "1")
    second = built(tmp_path / "another folder", "7")
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def test_a_changed_byte_changes_the_slot(
    make_tree: Callable[[Path], Tree], accounts: Accounts, tmp_path: Path
) -> None:
    tree = make_tree(tmp_path / "work")
    for time_s in (TIME_S, TIME_S + 1):
        write_ufs(tree, accounts, tmp_path / str(time_s), size=8 * MIB, time_s=time_s)
    assert (tmp_path / str(TIME_S)).read_bytes() != (tmp_path / str(TIME_S + 1)).read_bytes()


def test_freebsd_would_mount_it_and_every_copy_of_the_superblock_is_the_same(slot: Path) -> None:
    raw = slot.read_bytes()
    superblock = raw[65536 : 65536 + 8192]
    assert superblock_problems(superblock) == []
    fs = read_superblock(superblock)
    for group in range(fs["fs_ncg"]):
        place = (group * fs["fs_fpg"] + fs["fs_sblkno"]) * fs["fs_fsize"]
        assert raw[place : place + 8192] == superblock
