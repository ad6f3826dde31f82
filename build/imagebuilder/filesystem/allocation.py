"""Which fragments of a UFS2 file system hold whose bytes.

Files are laid out in the order in which they are asked for, group after group. Pure bookkeeping:
it knows numbers of fragments and no content.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagebuilder.filesystem.geometry import FIRST_INODE, FRAGMENTS_PER_BLOCK
from imagebuilder.filesystem.superblock import GroupState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagebuilder.filesystem.geometry import Geometry


class SlotFull(Exception):
    """No free block is left; whoever knows the sizes says so in words."""


class Allocator:
    """Hands out whole blocks and tails of blocks, lowest address first; nothing is ever freed."""

    def __init__(self, plan: Geometry) -> None:
        self._plan = plan
        self.groups = [self._fresh(group) for group in range(plan.groups)]
        self._blocks = self._whole_blocks()
        # Blocks that are broken into tails: by number of free fragments, each a first free one.
        self._broken: dict[int, list[int]] = {free: [] for free in range(1, FRAGMENTS_PER_BLOCK)}
        self.used_fragments = 0
        # Nobody has inodes 0 and 1, and nobody may get them: to the kernel 0 means that none is
        # free, and fsck_ffs(8) counts both as used.
        for inode in range(FIRST_INODE):
            self.use_inode(inode, folder=False)

    def block(self) -> int:
        """A whole block: its first fragment. Raises ``SlotFull``."""
        start = next(self._blocks, None)
        if start is None:
            raise SlotFull
        self._take(start, FRAGMENTS_PER_BLOCK)
        return start

    def tail(self, fragments: int) -> int:
        """1 to 8 fragments in a row within one block: the first one. Raises ``SlotFull``.

        The fullest broken block that still has the room is taken, so tails waste little.
        """
        if fragments == FRAGMENTS_PER_BLOCK:
            return self.block()
        for free in range(fragments, FRAGMENTS_PER_BLOCK):
            if self._broken[free]:
                return self._split(self._broken[free].pop(), free, fragments)
        start = next(self._blocks, None)
        if start is None:
            raise SlotFull
        return self._split(start, FRAGMENTS_PER_BLOCK, fragments)

    def use_inode(self, inode: int, *, folder: bool) -> None:
        """Mark an inode as used."""
        group, index = divmod(inode, self._plan.group_inodes)
        state = self.groups[group]
        state.used_inodes[index // 8] |= 1 << (index % 8)
        state.folders += folder

    def _split(self, start: int, free: int, fragments: int) -> int:
        self._take(start, fragments)
        if free > fragments:
            self._broken[free - fragments].append(start + fragments)
        return start

    def _take(self, start: int, fragments: int) -> None:
        group, first = divmod(start, self._plan.group_fragments)
        mask = ((1 << fragments) - 1) << (first % FRAGMENTS_PER_BLOCK)
        self.groups[group].free_fragments[first // FRAGMENTS_PER_BLOCK] &= ~mask
        self.used_fragments += fragments

    def _fresh(self, group: int) -> GroupState:
        """A group in which only its tables are taken, and nobody's inodes."""
        plan = self._plan
        # A group's bitmap of fragments covers the usual length, even if the group is shorter.
        state = GroupState(
            used_inodes=bytearray(-(-plan.group_inodes // 8)),
            free_fragments=bytearray(plan.group_fragments // FRAGMENTS_PER_BLOCK),
        )
        for start, end in plan.data_ranges(group):
            first, last = start - plan.base(group), end - plan.base(group)
            whole = -(-first // FRAGMENTS_PER_BLOCK)
            blocks = last // FRAGMENTS_PER_BLOCK - whole
            state.free_fragments[whole : whole + blocks] = b"\xff" * blocks
            if first % FRAGMENTS_PER_BLOCK:
                # The rest of the block in which the summaries end.
                kept = first % FRAGMENTS_PER_BLOCK
                state.free_fragments[whole - 1] = 0xFF << kept & 0xFF
        return state

    def _whole_blocks(self) -> Iterator[int]:
        for group in range(self._plan.groups):
            for start, end in self._plan.data_ranges(group):
                # The summaries of group 0 may end within a block; what is left there stays free.
                first = -(-start // FRAGMENTS_PER_BLOCK) * FRAGMENTS_PER_BLOCK
                yield from range(first, end, FRAGMENTS_PER_BLOCK)
