"""Growth: the data partition takes what the disk has beyond the image; pure, one step at a time.

The order was proved on a disk: the table's second copy moves to the end of the disk, then the
partition grows, then the file system, which may be mounted. Each is due only where there is
something to gain, so a disk that is grown takes no step, and a cut between two steps is no harm.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from appliance.slots import SECTOR_BYTES, recover_argv, tables_with
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.freebsd.gpart import PartitionTable

LABEL: Final = "data"
# Less than that is rounding: of the partition to 4 KiB, of the file system to its fragments.
GAIN_BYTES_MIN: Final = 1 << 20
# Where UFS2 may keep its superblock, in the order of looking (SBLOCKSEARCH of sys/ufs/ffs/fs.h):
# newfs takes the first place, makefs the second.
SUPERBLOCK_OFFSETS: Final = (65536, 8192, 0, 262144)
# What is read at such a place: whole sectors, since a raw disk gives nothing else.
SUPERBLOCK_BYTES: Final = 4096
_FRAGMENT_AT: Final = 52
_FRAGMENTS_AT: Final = 1080
_PLACE_AT: Final = 1000
_MAGIC_AT: Final = 1372
_MAGIC: Final = 0x19540119


@dataclass(frozen=True, slots=True)
class Grow:
    """One step: a command, and what it is for."""

    argv: tuple[str, ...]
    reason: str


def filesystem_bytes(read_at: Callable[[int, int], bytes]) -> int:
    """How large a UFS2 says it is; raises ``UsageError`` for anything else.

    ``read_at`` gives bytes of the partition, from an offset on, a number of them.
    """
    for offset in SUPERBLOCK_OFFSETS:
        block = read_at(offset, SUPERBLOCK_BYTES)
        # A copy of the superblock elsewhere names another place than where it lies.
        if len(block) == SUPERBLOCK_BYTES and _is_superblock(block, offset):
            fragment: int = struct.unpack_from("<i", block, _FRAGMENT_AT)[0]
            fragments: int = struct.unpack_from("<q", block, _FRAGMENTS_AT)[0]
            return fragment * fragments
    raise UsageError("the data partition holds no UFS2", "write the image to the disk anew")


def _is_superblock(block: bytes, offset: int) -> bool:
    magic: int = struct.unpack_from("<i", block, _MAGIC_AT)[0]
    place: int = struct.unpack_from("<q", block, _PLACE_AT)[0]
    return (magic, place) == (_MAGIC, offset)


def next_growth(tables: str, filesystem_size: int) -> Grow | None:
    """What is due, from an answer of ``gpart show -l`` and the file system's bytes; or None.

    To be asked anew after each step. Raises ``UsageError`` if data is not the last partition.
    """
    table, index, size = _data_partition(tables)
    if table.is_corrupt:
        return Grow(recover_argv(table.disk), "the disk is larger than its table, or was cut")
    if _free_behind(table, index) >= GAIN_BYTES_MIN:
        return Grow(("gpart", "resize", "-i", str(index), table.disk), "the disk has room")
    if size - filesystem_size >= GAIN_BYTES_MIN:
        return Grow(("growfs", "-y", f"/dev/gpt/{LABEL}"), "the partition has room")
    return None


def _data_partition(text: str) -> tuple[PartitionTable, int, int]:
    """The table, the index of the data partition, and its bytes."""
    tables = [
        table
        for table in tables_with(text, LABEL)
        if {"slotA", "slotB"} <= {each.what for each in table.partitions}
    ]
    if len(tables) != 1:
        raise UsageError(f"{len(tables)} disks hold slots and data", "one of them must")
    table = tables[0]
    last = max(table.partitions, key=lambda partition: partition.start)
    if last.what != LABEL:
        raise UsageError(
            f"{last.what} lies behind {LABEL} on {table.disk}", "only the last partition can grow"
        )
    return table, last.index, last.size * SECTOR_BYTES


def _free_behind(table: PartitionTable, index: int) -> int:
    last = next(each for each in table.partitions if each.index == index)
    return (table.start + table.size - last.start - last.size) * SECTOR_BYTES
