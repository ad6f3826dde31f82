"""What fsck_ffs(8) would complain of in a UFS2 file system, in the order of its five phases.

It shares no code with what writes file systems: places of fields are stated here once more, after
``sys/ufs/ffs/fs.h``. It knows what a fresh file system may hold: files, folders and symbolic
links, no snapshots, no clusters, no check hashes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUPERBLOCK_AT, _SUPERBLOCK_BYTES = 65536, 8192
_ROOT = 2
_FOLDER, _FILE, _SYMLINK = 0o04, 0o10, 0o12
_DIRECT, _SECTOR = 12, 512
_NUMBERS = {
    "sblkno": 8,
    "cblkno": 12,
    "iblkno": 16,
    "dblkno": 20,
    "ncg": 44,
    "bsize": 48,
    "fsize": 52,
    "frag": 56,
    "nindir": 116,
    "cssize": 156,
    "cgsize": 160,
    "ipg": 184,
    "fpg": 188,
}


@dataclass
class _Inode:
    number: int
    raw: bytes

    def __post_init__(self) -> None:
        self.mode, self.links = struct.unpack_from("<HH", self.raw)
        self.kind = self.mode >> 12
        self.size, self.sectors = struct.unpack_from("<QQ", self.raw, 16)
        self.pointers: tuple[int, ...] = struct.unpack_from("<15q", self.raw, 112)
        (self.depth,) = struct.unpack_from("<I", self.raw, 240)


def fsck_problems(raw: bytes) -> list[str]:
    """A line for everything that is wrong; none means clean. ``raw`` is the whole file system."""
    return _Fsck(raw).run()


class _Fsck:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        block = raw[_SUPERBLOCK_AT:][:_SUPERBLOCK_BYTES]
        self._superblock = block
        self._fs = {name: struct.unpack_from("<i", block, at)[0] for name, at in _NUMBERS.items()}
        self._totals = struct.unpack_from("<8q", block, 1008)
        (self._size,) = struct.unpack_from("<q", block, 1080)
        (self._summaries_at,) = struct.unpack_from("<q", block, 1096)
        self._used = bytearray(self._size)
        self._inodes: dict[int, _Inode] = {}
        self._references: dict[int, int] = {}
        self._parents: dict[int, int] = {_ROOT: _ROOT}
        self._dotdots: dict[int, int] = {}
        self._problems: list[str] = []

    def run(self) -> list[str]:
        self._blocks_and_sizes()
        for inode in list(self._inodes.values()):
            if inode.kind == _FOLDER:
                self._folder(inode)
        self._connectivity_and_links()
        self._groups()
        return self._problems

    def _say(self, text: str) -> None:
        self._problems.append(text)

    def _at(self, fragment: int, length: int) -> bytes:
        place = fragment * self._fs["fsize"]
        return self._raw[place : place + length]

    def _claim(self, start: int, fragments: int, owner: str) -> None:
        for fragment in range(start, start + fragments):
            if not 0 <= fragment < self._size:
                self._say(f"{owner}: fragment {fragment} is outside")
            elif self._used[fragment]:
                self._say(f"{owner}: fragment {fragment} is claimed twice")
            else:
                self._used[fragment] = 1

    # Phase 1: blocks and sizes.
    def _blocks_and_sizes(self) -> None:
        fs = self._fs
        for group in range(fs["ncg"]):
            base = group * fs["fpg"]
            start = base + fs["sblkno"] if group else 0
            self._claim(start, base + fs["dblkno"] - start, "tables")
        self._claim(self._summaries_at, fs["cssize"] // fs["fsize"], "summaries")
        for number in range(fs["ipg"] * fs["ncg"]):
            group, index = divmod(number, fs["ipg"])
            place = (group * fs["fpg"] + fs["iblkno"]) * fs["fsize"] + 256 * index
            inode = _Inode(number, self._raw[place : place + 256])
            if inode.mode == 0 or number < _ROOT:
                if any(inode.raw):
                    self._say(f"inode {number}: partially allocated")
                continue
            self._inodes[number] = inode
            self._inode(inode)

    def _inode(self, inode: _Inode) -> None:
        name = f"inode {inode.number}"
        if inode.kind not in (_FOLDER, _FILE, _SYMLINK):
            self._say(f"{name}: unknown file type")
        if any(inode.raw[84:88]) or any(inode.raw[92:112]) or any(inode.raw[244:]):
            self._say(f"{name}: kernel flags, attributes, check hash or spare bytes are set")
        if inode.depth and inode.kind != _FOLDER:
            self._say(f"{name}: depth of what is no folder")
        if inode.kind == _SYMLINK and inode.size < 120:
            rest = inode.raw[112 + inode.size : 232]
            if any(rest) or inode.sectors:
                self._say(f"{name}: garbage behind a short link")
            return
        held = 0
        for _, address, fragments in self._map(inode):
            self._claim(address, fragments, name)
            held += fragments
        if inode.sectors != held * self._fs["fsize"] // _SECTOR:
            self._say(f"{name}: incorrect block count {inode.sectors}")

    def _map(self, inode: _Inode) -> Iterator[tuple[bool, int, int]]:
        """What an inode points at: whether it is data, the first fragment, and how many."""
        fs = self._fs
        blocks = -(-inode.size // fs["bsize"])
        for index, address in enumerate(inode.pointers[:_DIRECT]):
            rest = inode.size - index * fs["bsize"]
            if rest > 0:
                yield True, address, min(fs["frag"], -(-rest // fs["fsize"]))
            elif address:
                self._say(f"inode {inode.number}: invalid direct block {index}")
        left = max(0, blocks - _DIRECT)
        for level, address in enumerate(inode.pointers[_DIRECT:], start=1):
            reach = fs["nindir"] ** level
            if left:
                yield from self._indirect(address, level, min(left, reach))
            elif address:
                self._say(f"inode {inode.number}: invalid indirect block {level}")
            left = max(0, left - reach)

    def _indirect(self, address: int, level: int, blocks: int) -> Iterator[tuple[bool, int, int]]:
        fs = self._fs
        yield False, address, fs["frag"]
        pointers = struct.unpack(f"<{fs['nindir']}q", self._at(address, fs["bsize"]))
        reach = fs["nindir"] ** (level - 1)
        count = -(-blocks // reach)
        if any(pointers[count:]):
            self._say(f"block {address}: pointers behind the last")
        for index, pointer in enumerate(pointers[:count]):
            if level == 1:
                yield True, pointer, fs["frag"]
            else:
                yield from self._indirect(pointer, level - 1, min(reach, blocks - index * reach))

    # Phase 2: path names.
    def _folder(self, inode: _Inode) -> None:
        name = f"folder {inode.number}"
        if inode.size % _SECTOR or not inode.size:
            self._say(f"{name}: length {inode.size}")
        runs = [(address, count) for is_data, address, count in self._map(inode) if is_data]
        content = b"".join(self._at(start, count * self._fs["fsize"]) for start, count in runs)
        entries = list(self._entries(name, content[: inode.size]))
        if [text for text, _, _ in entries[:2]] != [b".", b".."]:
            self._say(f"{name}: does not begin with . and ..")
            return
        if len({text for text, _, _ in entries}) != len(entries):
            self._say(f"{name}: a name twice")
        if entries[0][1] != inode.number:
            self._say(f"{name}: bad inode number for .")
        self._dotdots[inode.number] = entries[1][1]
        for _, number, kind in entries:
            self._reference(name, number, kind)
        for _, number, kind in entries[2:]:
            if kind == _FOLDER and self._parents.setdefault(number, inode.number) != inode.number:
                self._say(f"{name}: extraneous link to folder {number}")

    def _reference(self, name: str, number: int, kind: int) -> None:
        self._references[number] = self._references.get(number, 0) + 1
        if number not in self._inodes:
            self._say(f"{name}: inode {number} is unallocated")
        elif kind != self._inodes[number].kind:
            self._say(f"{name}: bad type value of inode {number}")

    def _entries(self, name: str, content: bytes) -> Iterator[tuple[bytes, int, int]]:
        place = 0
        while place < len(content):
            number, length, kind, size = struct.unpack_from("<IHBB", content, place)
            room = _SECTOR - place % _SECTOR
            text = content[place + 8 :][:size]
            least = 8 + -(-(size + 1) // 4) * 4
            if not least <= length <= room or length % 4 or not size or {0, 47} & set(text):
                self._say(f"{name}: corrupted at {place}")
                return
            if any(content[place + 8 + size : place + length]):
                self._say(f"{name}: padding at {place}")
            yield text, number, kind
            place += length

    # Phases 3 and 4: connectivity and reference counts.
    def _connectivity_and_links(self) -> None:
        for number, inode in self._inodes.items():
            found = self._references.get(number, 0)
            if inode.links != found:
                self._say(f"inode {number}: link count {inode.links} should be {found}")
            if inode.kind == _FOLDER:
                self._above(inode)

    def _above(self, inode: _Inode) -> None:
        parent = self._parents.get(inode.number)
        if parent is None:
            self._say(f"folder {inode.number}: unreferenced")
            return
        if self._dotdots.get(inode.number) != parent:
            self._say(f"folder {inode.number}: bad inode number for ..")
        depth = 0 if inode.number == _ROOT else self._inodes[parent].depth + 1
        if inode.depth != depth:
            self._say(f"folder {inode.number}: depth {inode.depth} should be {depth}")

    # Phase 5: cylinder groups, rebuilt from what was found and compared byte by byte.
    def _groups(self) -> None:
        fs, totals = self._fs, [0] * 8
        for group in range(fs["ncg"]):
            base = group * fs["fpg"]
            found = self._at(base + fs["cblkno"], fs["cgsize"])
            header, counts = self._rebuilt(group, struct.unpack_from("<q", found, 136)[0])
            if found[:168] != header[:168]:
                self._say(f"group {group}: summary information bad")
            if found[168:] != header[168:]:
                self._say(f"group {group}: blocks missing in bit maps")
            if self._at(self._summaries_at, fs["cssize"])[16 * group :][:16] != header[24:40]:
                self._say(f"group {group}: free block counts wrong in superblock")
            if self._at(base + fs["sblkno"], _SUPERBLOCK_BYTES) != self._superblock:
                self._say(f"group {group}: another superblock")
            totals[:4] = [one + more for one, more in zip(totals, counts, strict=False)]
        if list(self._totals) != totals:
            self._say(f"summary block counts wrong in superblock: {self._totals}")

    def _rebuilt(self, group: int, time_s: int) -> tuple[bytes, tuple[int, int, int, int]]:
        fs = self._fs
        base, length = group * fs["fpg"], min(fs["fpg"], self._size - group * fs["fpg"])
        first = group * fs["ipg"]
        taken = [
            number in self._inodes or number < _ROOT for number in range(first, first + fs["ipg"])
        ]
        free = [not self._used[base + index] for index in range(length)]
        blocks, fragments, runs = _count(free, fs["frag"])
        folders = sum(
            self._inodes[number].kind == _FOLDER
            for number in range(first, first + fs["ipg"])
            if number in self._inodes
        )
        counts = (folders, blocks, taken.count(False), fragments)
        maps = _bits(taken, fs["ipg"]) + _bits(free, fs["fpg"])
        free_at = 168 + -(-fs["ipg"] // 8)
        header = bytearray(fs["cgsize"])
        struct.pack_into("<iIiIhhI", header, 0, 0, 0x090255, 0, group, 0, 0, length)
        struct.pack_into("<4i3I8I", header, 24, *counts, 0, 0, 0, *runs)
        struct.pack_into("<2i3I", header, 84, 0, 0, 168, free_at, 168 + len(maps))
        struct.pack_into("<5I", header, 104, 0, 0, 0, fs["ipg"], fs["ipg"])
        struct.pack_into("<q", header, 136, time_s)
        header[168 : 168 + len(maps)] = maps
        return bytes(header), counts


def _bits(flags: list[bool], length: int) -> bytes:
    number = sum(1 << index for index, flag in enumerate(flags) if flag)
    return number.to_bytes(-(-length // 8), "little")


def _count(free: list[bool], per_block: int) -> tuple[int, int, list[int]]:
    """Free blocks, free fragments of broken blocks, and how long the runs of those are."""
    blocks, fragments, runs = 0, 0, [0] * 8
    for start in range(0, len(free), per_block):
        block = free[start : start + per_block]
        if all(block):
            blocks += 1
            continue
        fragments += sum(block)
        run = 0
        for is_free in [*block, False]:
            if not is_free:
                runs[run] += bool(run)
            run = run + 1 if is_free else 0
    return blocks, fragments, runs
