"""Inodes and folders of UFS2 as bytes.

Layouts are those of ``struct ufs2_dinode`` and ``struct direct`` in FreeBSD's
``sys/ufs/ufs/dinode.h`` and ``dir.h``; the numbers of file flags are those of ``sys/sys/stat.h``.
Pure: where the blocks lie is decided elsewhere.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Kind
from imagebuilder.filesystem.geometry import INODE_BYTES
from imagebuilder.filesystem.superblock import DIRECT_BLOCKS, INDIRECT_LEVELS, SYMLINK_INLINE_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

SECTOR_BYTES: Final = 512
NAME_BYTES_MAX: Final = 255
LINKS_MAX: Final = 32767
_TYPE_BITS: Final = {Kind.FOLDER: 0o040000, Kind.FILE: 0o100000, Kind.SYMLINK: 0o120000}
_ENTRY_TYPES: Final = {Kind.FOLDER: 4, Kind.FILE: 8, Kind.SYMLINK: 10}
_FLAGS: Final = {
    "nodump": 0x1,
    "uchg": 0x2,
    "uappnd": 0x4,
    "opaque": 0x8,
    "uunlnk": 0x10,
    "usystem": 0x80,
    "usparse": 0x100,
    "uoffline": 0x200,
    "ureparse": 0x400,
    "uarch": 0x800,
    "urdonly": 0x1000,
    "uhidden": 0x8000,
    "arch": 0x10000,
    "schg": 0x20000,
    "sappnd": 0x40000,
    "sunlnk": 0x100000,
}
# Other names of the same flags, as chflags(1) and tar know them.
_SYNONYMS: Final = {
    "archived": "arch",
    "schange": "schg",
    "simmutable": "schg",
    "sappend": "sappnd",
    "sunlink": "sunlnk",
    "uchange": "uchg",
    "uimmutable": "uchg",
    "uappend": "uappnd",
    "uunlink": "uunlnk",
    "uarchive": "uarch",
    "hidden": "uhidden",
    "offline": "uoffline",
    "rdonly": "urdonly",
    "readonly": "urdonly",
    "reparse": "ureparse",
    "sparse": "usparse",
    "system": "usystem",
}


def flag_bits(names: Iterable[str]) -> int:
    """File flags as a number; raises ``KeyError`` with the name of an unknown one."""
    bits = 0
    for name in names:
        bits |= _FLAGS[_SYNONYMS.get(name, name)]
    return bits


@dataclass(slots=True, kw_only=True)
class Inode:
    """One file, folder or symbolic link; the name and the bytes are elsewhere."""

    kind: Kind
    mode: int
    user: int
    group: int
    flags: int
    size: int
    links: int = 1
    # Of a folder: how many folders lie above it; what fsck_ffs(8) of 14 and 15 asks for.
    depth: int = 0
    # Addresses in fragments.
    direct: list[int] = field(default_factory=list)
    indirect: list[int] = field(default_factory=list)
    # Bytes on the disk, those of indirect blocks included.
    held_bytes: int = 0
    # The text of a symbolic link that is short enough to lie in the inode.
    inline: bytes = b""

    def encode(self, time_s: int, block_bytes: int) -> bytes:
        """The 256 bytes on disk; every time is ``time_s``.

        The generation (``di_gen``) stays 0: the kernel then draws one in memory when it reads
        the inode, and the bytes are the same in every build.
        """
        raw = bytearray(INODE_BYTES)
        mode = _TYPE_BITS[self.kind] | self.mode
        struct.pack_into("<HhIII", raw, 0, mode, self.links, self.user, self.group, block_bytes)
        struct.pack_into(
            "<QQ4q", raw, 16, self.size, self.held_bytes // SECTOR_BYTES, *[time_s] * 4
        )
        struct.pack_into("<I", raw, 88, self.flags)
        struct.pack_into("<I", raw, 240, self.depth)  # di_dirdepth
        if self.inline:
            raw[112 : 112 + len(self.inline)] = self.inline
        else:
            direct = self.direct + [0] * (DIRECT_BLOCKS - len(self.direct))
            indirect = self.indirect + [0] * (INDIRECT_LEVELS - len(self.indirect))
            struct.pack_into("<15q", raw, 112, *direct, *indirect)
        return bytes(raw)


def fits_inline(target: bytes) -> bool:
    """Whether the text of a symbolic link lies in its inode."""
    return len(target) < SYMLINK_INLINE_MAX


def encode_folder(inode: int, parent: int, names: Iterable[tuple[bytes, int, Kind]]) -> bytes:
    """The content of a folder: ``.``, ``..`` and the given names, in their order.

    Entries do not cross the border of a sector; the last one in a sector takes what is left.
    """
    sectors = [bytearray()]
    last_at = 0
    entries = [(b".", inode, Kind.FOLDER), (b"..", parent, Kind.FOLDER), *names]
    for name, number, kind in entries:
        entry = _encode_name(name, number, kind)
        if len(sectors[-1]) + len(entry) > SECTOR_BYTES:
            _fill(sectors[-1], last_at)
            sectors.append(bytearray())
        last_at = len(sectors[-1])
        sectors[-1] += entry
    _fill(sectors[-1], last_at)
    return b"".join(sectors)


def _encode_name(name: bytes, number: int, kind: Kind) -> bytes:
    length = 8 + (len(name) + 4) // 4 * 4
    head = struct.pack("<IHBB", number, length, _ENTRY_TYPES[kind], len(name))
    return (head + name).ljust(length, b"\0")


def _fill(sector: bytearray, last_at: int) -> None:
    struct.pack_into("<H", sector, last_at + 4, SECTOR_BYTES - last_at)
    sector.extend(bytes(SECTOR_BYTES - len(sector)))
