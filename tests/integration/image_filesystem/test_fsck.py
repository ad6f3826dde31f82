"""fsck_ffs(8) would call every slot clean, and the check that stands for it sees what is not."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import smallrelease
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.accounts import parse_accounts
from imagebuilder.filesystem.superblock import read_superblock
from imagebuilder.filesystem.tree import Layer, merge
from imagebuilder.filesystem.ufs import write_ufs
from ufscheck import fsck_problems

MIB = 1 << 20
BLOCK = 32768
ACCOUNTS = parse_accounts(smallrelease.ACCOUNTS, smallrelease.GROUP)


def test_a_slot_is_clean(slot: Path) -> None:
    assert fsck_problems(slot.read_bytes()) == []


NAMES = st.sampled_from(["a", "b", "c", "a long name"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
SIZES = st.sampled_from(
    [0, 1, 4096, 4097, 28673, BLOCK, 3 * BLOCK + 1, 12 * BLOCK, 12 * BLOCK + 1, 13 * BLOCK]
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(PATHS, SIZES, max_size=12), st.sampled_from([512, 32768]))
def test_every_tree_is_clean(files: dict[str, int], group_fragments: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        entries = []
        for number, (path, size) in enumerate(files.items()):
            if any(other.startswith(f"{path}/") for other in files):
                entries.append(Entry(path=path, kind=Kind.FOLDER, mode=0o755))
                continue
            source = Path(name) / str(number)
            source.write_bytes(b"x" * size)
            entries.append(Entry(path=path, kind=Kind.FILE, mode=0o644, source=source))
        target = Path(name) / "slot.ufs"
        tree = merge([Layer("one", entries)])
        write_ufs(
            tree, ACCOUNTS, target, size=9 * MIB, time_s=1, group_fragments_max=group_fragments
        )
        assert fsck_problems(target.read_bytes()) == []


def _group(fs: dict[str, int], offset: int) -> int:
    return fs["fs_cblkno"] * 4096 + offset


def _inode(fs: dict[str, int], number: int, offset: int) -> int:
    return fs["fs_iblkno"] * 4096 + 256 * number + offset


def _root(raw: bytes, fs: dict[str, int], offset: int) -> int:
    """A place in the root folder: after ``.`` (12 bytes) and ``..`` (12) comes the first name."""
    (fragment,) = struct.unpack_from("<q", raw, _inode(fs, 2, 112))
    return int(fragment) * 4096 + offset


@pytest.fixture(scope="module")
def small() -> bytes:
    """A file system with a folder, a file and a link."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.write_bytes(b"x" * 5000)
        entries = [
            Entry(path="a/file", kind=Kind.FILE, mode=0o644, source=source),
            Entry(path="link", kind=Kind.SYMLINK, mode=0o755, target="a/file"),
        ]
        target = Path(name) / "slot.ufs"
        write_ufs(merge([Layer("one", entries)]), ACCOUNTS, target, size=MIB, time_s=1)
        return target.read_bytes()


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        # The bitmaps, the counts and the fixed part of a group's header.
        (lambda _, fs: _group(fs, 168), "group 0: blocks missing"),
        (lambda _, fs: _group(fs, 168 + fs["fs_ipg"] // 8), "group 0: blocks missing"),
        (lambda _, fs: _group(fs, 24), "group 0: summary information bad"),
        (lambda _, fs: _group(fs, 56), "group 0: summary information bad"),
        (lambda _, fs: _group(fs, 92), "group 0: summary information bad"),
        (lambda _, fs: fs["fs_csaddr"] * 4096, "group 0: free block counts wrong"),
        (lambda _, __: 65536 + 1016, "summary block counts wrong"),
        (lambda _, fs: fs["fs_sblkno"] * 4096, "group 0: another superblock"),
        # Inodes: 0 is nobody's; links, blocks held, depth and pointers of the root.
        (lambda _, fs: _inode(fs, 0, 16), "inode 0: partially allocated"),
        (lambda _, fs: _inode(fs, 2, 2), "inode 2: link count"),
        (lambda _, fs: _inode(fs, 2, 24), "inode 2: incorrect block count"),
        (lambda _, fs: _inode(fs, 2, 112), "claimed twice"),
        (lambda _, fs: _inode(fs, 2, 200), "inode 2: invalid direct block 11"),
        (lambda _, fs: _inode(fs, 2, 208), "inode 2: invalid indirect block 1"),
        (lambda _, fs: _inode(fs, 2, 240), "folder 2: depth 1 should be 0"),
        (lambda _, fs: _inode(fs, 2, 244), "check hash"),
        # The root folder: numbers, lengths, types and names.
        (lambda raw, fs: _root(raw, fs, 0), "bad inode number for ."),
        (lambda raw, fs: _root(raw, fs, 12), "bad inode number for .."),
        (lambda raw, fs: _root(raw, fs, 24), "should be"),
        (lambda raw, fs: _root(raw, fs, 28), "corrupted at 24"),
        (lambda raw, fs: _root(raw, fs, 30), "bad type value"),
    ],
)
def test_one_wrong_byte_is_told(small: bytes, place: object, problem: str) -> None:
    assert fsck_problems(small) == []
    wrong = bytearray(small)
    fs = read_superblock(bytes(wrong[65536 : 65536 + 8192]))
    assert callable(place)
    wrong[place(bytes(wrong), fs)] ^= 1
    assert any(problem in line for line in fsck_problems(bytes(wrong)))
