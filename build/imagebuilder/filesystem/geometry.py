"""Where the parts of a UFS2 file system lie: cylinder groups, superblocks, inodes, data.

Numbers and arithmetic only; it writes no byte. Names in comments are those of FreeBSD's
``sys/ufs/ffs/fs.h``. All addresses are in fragments from the start of the file system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

# FreeBSD's own default for new file systems, so the most travelled road in loaders and kernels.
BLOCK_BYTES: Final = 32768
FRAGMENT_BYTES: Final = 4096
FRAGMENTS_PER_BLOCK: Final = BLOCK_BYTES // FRAGMENT_BYTES
INODE_BYTES: Final = 256
INODES_PER_BLOCK: Final = BLOCK_BYTES // INODE_BYTES
SUPERBLOCK_AT: Final = 65536
SUPERBLOCK_BYTES: Final = 8192
GROUP_HEADER_BYTES: Final = 168
SUMMARY_BYTES: Final = 16
FIRST_INODE: Final = 2
# 128 MiB: a slot of the usual size has a few groups, so several groups are the tried case.
GROUP_FRAGMENTS_MAX: Final = 32768
# Far above any slot; keeps every number of the summaries within 31 bits.
SIZE_MAX_BYTES: Final = 64 << 30


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _blocks_as_fragments(size: int) -> int:
    return _up(-(-size // FRAGMENT_BYTES), FRAGMENTS_PER_BLOCK)


# Offsets within each cylinder group.
COPY_AT: Final = _blocks_as_fragments(SUPERBLOCK_AT + SUPERBLOCK_BYTES)  # fs_sblkno
GROUP_AT: Final = COPY_AT + _blocks_as_fragments(SUPERBLOCK_BYTES)  # fs_cblkno
INODES_AT: Final = GROUP_AT + FRAGMENTS_PER_BLOCK  # fs_iblkno


@dataclass(frozen=True, slots=True)
class Geometry:
    """The layout of one file system; made by ``plan_geometry``."""

    fragments: int  # fs_size
    groups: int  # fs_ncg
    group_fragments: int  # fs_fpg
    group_inodes: int  # fs_ipg

    @property
    def data_at(self) -> int:
        """First fragment of a group after its inodes (``fs_dblkno``)."""
        return INODES_AT + self.group_inodes * INODE_BYTES // FRAGMENT_BYTES

    @property
    def summary_fragments(self) -> int:
        """Length of the summaries of all groups, which lie first in the data of group 0."""
        return -(-self.groups * SUMMARY_BYTES // FRAGMENT_BYTES)

    @property
    def inodes(self) -> int:
        """All inodes, the two at the start that nobody gets included."""
        return self.groups * self.group_inodes

    def base(self, group: int) -> int:
        """First fragment of a group."""
        return group * self.group_fragments

    def end(self, group: int) -> int:
        """First fragment after a group; the last group may be shorter."""
        return min(self.base(group + 1), self.fragments)

    def data_ranges(self, group: int) -> Iterator[tuple[int, int]]:
        """The fragments of a group that hold data: start and end of each range.

        Data may also lie before the copy of the superblock, except in group 0, where boot code
        and the superblock itself are.
        """
        start = self.base(group)
        if group > 0:
            yield start, start + COPY_AT
            yield start + self.data_at, self.end(group)
        else:
            yield start + self.data_at + self.summary_fragments, self.end(group)

    def inode_offset(self, inode: int) -> int:
        """Where an inode lies, in bytes."""
        group, index = divmod(inode, self.group_inodes)
        return (self.base(group) + INODES_AT) * FRAGMENT_BYTES + index * INODE_BYTES

    @property
    def group_header_bytes(self) -> int:
        """A group's header with its two bitmaps, in whole fragments (``fs_cgsize``)."""
        bitmaps = -(-self.group_inodes // 8) + -(-self.group_fragments // 8)
        return _up(GROUP_HEADER_BYTES + 4 + bitmaps, FRAGMENT_BYTES)


def plan_geometry(
    size: int, inodes: int, group_fragments_max: int = GROUP_FRAGMENTS_MAX
) -> Geometry:
    """The layout for ``size`` bytes with room for at least ``inodes`` files and folders.

    The groups are of one length, so the last one is never too short for its own tables. Raises
    ``UsageError`` when the size is out of bounds or too small for the inodes.
    """
    if not 0 < size <= SIZE_MAX_BYTES:
        raise UsageError(
            f"a file system of {size} bytes cannot be made", f"choose 1 to {SIZE_MAX_BYTES} bytes"
        )
    blocks = size // BLOCK_BYTES
    groups = max(1, -(-blocks * FRAGMENTS_PER_BLOCK // group_fragments_max))
    group_fragments = -(-blocks // groups) * FRAGMENTS_PER_BLOCK
    group_inodes = _up(-(-(inodes + FIRST_INODE) // groups), INODES_PER_BLOCK)
    plan = Geometry(blocks * FRAGMENTS_PER_BLOCK, groups, group_fragments, group_inodes)
    shortest = plan.end(groups - 1) - plan.base(groups - 1)
    if shortest <= plan.data_at + plan.summary_fragments:
        raise UsageError(
            f"{size} bytes are too few for a file system with {inodes} files and folders",
            "make the slot larger",
        )
    if plan.group_header_bytes > BLOCK_BYTES:
        raise UsageError(
            f"{inodes} files and folders are too many for {size} bytes", "make the slot larger"
        )
    return plan
