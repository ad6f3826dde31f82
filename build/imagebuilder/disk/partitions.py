"""Partitions: what a disk shall be divided into, and where each part of it lies.

Pure. Sectors are 512 bytes; a disk of 4096-byte sectors cannot be described. How a table is
written in bytes is the matter of ``gpt``; which partitions an appliance has, that of ``layout``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTOR_BYTES: Final = 512
KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

# gptboot reads tables of at most 128 entries; everything here has exactly that many.
ENTRIES: Final = 128
ENTRY_BYTES: Final = 128
TABLE_SECTORS: Final = ENTRIES * ENTRY_BYTES // SECTOR_BYTES
# Protective MBR, header, entries.
HEAD_SECTORS: Final = 2 + TABLE_SECTORS
# Entries, header.
TAIL_SECTORS: Final = TABLE_SECTORS + 1

# Types, as FreeBSD's sys/gpt.h and the UEFI specification number them.
FREEBSD_BOOT: Final = UUID("83bd6b9d-7f41-11dc-be0b-001560b84f0f")
FREEBSD_UFS: Final = UUID("516e7cb6-6ecf-11d6-8ff8-00022d09712b")
FREEBSD_SWAP: Final = UUID("516e7cb5-6ecf-11d6-8ff8-00022d09712b")
EFI_SYSTEM: Final = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
MS_BASIC_DATA: Final = UUID("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7")

# Attribute bits that gptboot(8) reads and writes.
BOOTME: Final = 1 << 59
BOOTONCE: Final = 1 << 58
BOOTFAILED: Final = 1 << 57

# An image for a stick or a small disk; the last partition grows on the machine.
DISK_BYTES_MAX: Final = 64 * GIB
# The name becomes /dev/gpt/NAME; the table has room for 36 UTF-16 units.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,35}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition as it is wanted; sizes in bytes, multiples of a sector."""

    name: str
    kind: UUID
    size_bytes: int
    alignment_bytes: int = MIB
    attributes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A partition where it lies; ``first`` and ``last`` are sectors, both inclusive."""

    index: int
    name: str
    kind: UUID
    guid: UUID
    first: int
    last: int
    attributes: int = 0

    @property
    def offset_bytes(self) -> int:
        """Where it begins on the disk."""
        return self.first * SECTOR_BYTES

    @property
    def size_bytes(self) -> int:
        """How much it holds."""
        return (self.last - self.first + 1) * SECTOR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A partition table of one disk; ``sectors`` is the size of the whole disk."""

    disk_guid: UUID
    sectors: int
    first_usable: int
    last_usable: int
    extents: tuple[Extent, ...]

    @property
    def size_bytes(self) -> int:
        """The size of the whole disk."""
        return self.sectors * SECTOR_BYTES

    def find(self, name: str) -> Extent:
        """The partition of that name; raises ``UsageError`` when there is none."""
        for extent in self.extents:
            if extent.name == name:
                return extent
        known = ", ".join(extent.name for extent in self.extents) or "none"
        raise UsageError(f"the disk has no partition {name!r}", f"it has: {known}")

    def marked(self, name: str, attributes: int) -> Table:
        """The same table, where the partition ``name`` has exactly these attribute bits."""
        changed = replace(self.find(name), attributes=attributes)
        return replace(
            self,
            extents=tuple(changed if old.name == name else old for old in self.extents),
        )


def guid_from_seed(seed: str, what: str) -> UUID:
    """The identifier of ``what`` on a disk of this seed; the same words give the same one.

    SHA-256 over both words, cut to 16 bytes, marked as version 8: RFC 9562, section 5.8, which
    leaves the rest of such an identifier to its maker. Disks of one seed share identifiers.
    """
    digest = hashlib.sha256(f"{seed}\0{what}".encode()).digest()
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0b11 << 62) | (0b10 << 62)
    return UUID(int=number)


def place(partitions: Sequence[Partition], seed: str) -> Table:
    """Lay the partitions one after the other, each at its alignment, on the smallest disk.

    They are numbered from 1 in the order given. The disk is a whole number of MiB. Raises
    ``UsageError`` for names, sizes or alignments that no table can hold.
    """
    if len(partitions) > ENTRIES:
        raise UsageError(f"{len(partitions)} partitions do not fit", f"at most {ENTRIES} do")
    _check_names([partition.name for partition in partitions])
    extents: list[Extent] = []
    free = HEAD_SECTORS
    for index, partition in enumerate(partitions, 1):
        extent = _placed(partition, index, free, seed)
        extents.append(extent)
        free = extent.last + 1
    sectors = _aligned(free + TAIL_SECTORS, MIB // SECTOR_BYTES)
    if sectors * SECTOR_BYTES > DISK_BYTES_MAX:
        raise UsageError(
            f"the disk would have {sectors * SECTOR_BYTES // MIB} MiB",
            f"at most {DISK_BYTES_MAX // MIB} MiB can be made; choose smaller partitions",
        )
    return Table(
        disk_guid=guid_from_seed(seed, "disk"),
        sectors=sectors,
        first_usable=HEAD_SECTORS,
        last_usable=sectors - TAIL_SECTORS - 1,
        extents=tuple(extents),
    )


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} cannot be the name of a partition",
                "use 1 to 36 letters, digits, - and _",
            )
    if len(set(names)) != len(names):
        raise UsageError("two partitions have the same name", "their names must differ")


def _placed(partition: Partition, index: int, free: int, seed: str) -> Extent:
    size, alignment = partition.size_bytes, partition.alignment_bytes
    if size <= 0 or size % SECTOR_BYTES:
        raise UsageError(
            f"partition {partition.name} cannot have {size} bytes",
            f"choose a multiple of {SECTOR_BYTES} above 0",
        )
    if alignment < SECTOR_BYTES or alignment & (alignment - 1):
        raise UsageError(
            f"partition {partition.name} cannot be aligned to {alignment} bytes",
            f"choose a power of two from {SECTOR_BYTES} on",
        )
    first = _aligned(free, alignment // SECTOR_BYTES)
    return Extent(
        index=index,
        name=partition.name,
        kind=partition.kind,
        guid=guid_from_seed(seed, f"partition {partition.name}"),
        first=first,
        last=first + size // SECTOR_BYTES - 1,
        attributes=partition.attributes,
    )


def _aligned(sector: int, step: int) -> int:
    return -(-sector // step) * step
