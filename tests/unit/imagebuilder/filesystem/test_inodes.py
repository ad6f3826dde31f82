"""Inodes and folders: read back by hand, as the kernel would."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.entries import Kind
from imagebuilder.filesystem.inodes import (
    SECTOR_BYTES,
    Inode,
    encode_folder,
    fits_inline,
    flag_bits,
)

NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: not {0, 47} & set(name))


def walk(content: bytes) -> list[tuple[bytes, int, int]]:
    """The entries of a folder, as struct direct says."""
    found, place = [], 0
    while place < len(content):
        number, length, kind, size = struct.unpack_from("<IHBB", content, place)
        assert length % 4 == 0
        assert length >= 8 + size + 1
        assert place // SECTOR_BYTES == (place + length - 1) // SECTOR_BYTES
        name = content[place + 8 : place + 8 + size]
        assert content[place + 8 + size] == 0
        found.append((name, number, kind))
        place += length
    assert place == len(content)
    return found


@given(st.lists(st.tuples(NAMES, st.integers(3, 2**32 - 1), st.sampled_from(Kind)), max_size=60))
def test_a_folder_is_read_as_it_was_written(names: list[tuple[bytes, int, Kind]]) -> None:
    numbers = {Kind.FOLDER: 4, Kind.FILE: 8, Kind.SYMLINK: 10}
    content = encode_folder(7, 2, names)
    assert len(content) % SECTOR_BYTES == 0
    expected = [(name, number, numbers[kind]) for name, number, kind in names]
    assert walk(content) == [(b".", 7, 4), (b"..", 2, 4), *expected]


def test_an_inode_says_what_it_is() -> None:
    inode = Inode(kind=Kind.FILE, mode=0o4555, user=59, group=5, flags=0x20000, size=5000, links=3)
    inode.direct, inode.held_bytes = [77, 88], 8192
    raw = inode.encode(1234, 32768)
    assert len(raw) == 256
    assert struct.unpack_from("<HhIII", raw) == (0o104555, 3, 59, 5, 32768)
    assert struct.unpack_from("<QQ4q", raw, 16) == (5000, 16, 1234, 1234, 1234, 1234)
    assert struct.unpack_from("<I", raw, 88) == (0x20000,)
    assert struct.unpack_from("<3q", raw, 112) == (77, 88, 0)
    # The generation is the kernel's to draw.
    assert struct.unpack_from("<I", raw, 80) == (0,)


def test_a_folder_knows_its_depth() -> None:
    folder = Inode(kind=Kind.FOLDER, mode=0o755, user=0, group=0, flags=0, size=512, depth=3)
    assert struct.unpack_from("<I", folder.encode(0, 32768), 240) == (3,)


def test_short_links_lie_in_the_inode() -> None:
    inode = Inode(kind=Kind.SYMLINK, mode=0o755, user=0, group=0, flags=0, size=3, inline=b"a/b")
    assert inode.encode(0, 32768)[112:116] == b"a/b\0"
    assert fits_inline(b"x" * 119)
    assert not fits_inline(b"x" * 120)


def test_flags_have_the_numbers_of_freebsd_under_all_their_names() -> None:
    assert flag_bits(["schg", "uarch"]) == 0x20800
    assert flag_bits(["schange"]) == flag_bits(["simmutable"]) == flag_bits(["schg"])
    assert flag_bits([]) == 0
    with pytest.raises(KeyError, match="sticky"):
        flag_bits(["schg", "sticky"])
