"""The GUID partition table in bytes: written twice on a disk, read back with what is damaged.

Pure: it works on the first 34 and the last 33 sectors of a disk and opens nothing. After the UEFI
specification 2.10, chapter 5, "GUID Partition Table (GPT) Disk Layout". It repairs nothing.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from imagebuilder.disk.partitions import (
    ENTRIES,
    ENTRY_BYTES,
    HEAD_SECTORS,
    SECTOR_BYTES,
    TABLE_SECTORS,
    TAIL_SECTORS,
    Extent,
    Table,
)
from maculaos.errors import UsageError

HEAD_BYTES: Final = HEAD_SECTORS * SECTOR_BYTES
TAIL_BYTES: Final = TAIL_SECTORS * SECTOR_BYTES
# Below this, both copies of the table would overlap.
SECTORS_MIN: Final = HEAD_SECTORS + TAIL_SECTORS

_SIGNATURE: Final = b"EFI PART"
_REVISION: Final = 0x00010000
# Signature, revision, size, CRC, reserved, own and other place, usable from and to, disk GUID,
# place, number and size of the entries, their CRC.
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_CRC_AT: Final = 16
# Type, GUID, first, last, attributes, name in UTF-16.
_ENTRY: Final = struct.Struct("<16s16sQQQ72s")
_UNUSED: Final = bytes(ENTRY_BYTES)

_BOOT_CODE_BYTES: Final = 446
_MBR_END: Final = b"\x55\xaa"
# Status, first CHS, type, last CHS, first sector, number of sectors.
_MBR_ENTRY: Final = struct.Struct("<B3sB3sII")
_PROTECTIVE: Final = 0xEE


@dataclass(frozen=True, slots=True)
class Encoded:
    """A table as it lies on the disk: its first and its last sectors."""

    head: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """What could be read: the table (the primary's if that is whole), and one line per damage."""

    table: Table | None
    damage: tuple[str, ...]


class _Damaged(Exception):  # a state of what was read, told to the caller as text
    """One copy of the table cannot be used."""


def boot_code(pmbr: bytes) -> bytes:
    """The code of FreeBSD's ``/boot/pmbr``: its first 446 bytes; raises ``UsageError``."""
    if len(pmbr) != SECTOR_BYTES or pmbr[-2:] != _MBR_END:
        raise UsageError(
            f"boot/pmbr is no boot sector: {len(pmbr)} bytes",
            "take the release's own file: 512 bytes that end with 55 aa",
        )
    return pmbr[:_BOOT_CODE_BYTES]


def encode(table: Table, code: bytes = b"") -> Encoded:
    """Both copies of the table and the protective MBR with ``code``, at most 446 bytes."""
    entries = _encode_entries(table)
    last = table.sectors - 1
    primary = _encode_header(table, entries, own=1, other=last, entries_at=2)
    backup = _encode_header(table, entries, own=last, other=1, entries_at=last - TABLE_SECTORS)
    return Encoded(_protective_mbr(table.sectors, code) + primary + entries, entries + backup)


def parse(head: bytes, tail: bytes, sectors: int) -> Reading:
    """Read both copies from the first 34 and the last 33 sectors of a disk of ``sectors``.

    A copy counts only if every checksum in it holds. Whatever else is odd is told as damage, and
    the table is returned as long as one copy is whole. Raises ``ValueError`` for other lengths.
    """
    if len(head) != HEAD_BYTES or len(tail) != TAIL_BYTES or sectors < SECTORS_MIN:
        raise ValueError(f"want {HEAD_BYTES} and {TAIL_BYTES} bytes of {SECTORS_MIN} sectors")
    damage = _mbr_damage(head)
    last = sectors - 1
    primary_sector = head[SECTOR_BYTES : 2 * SECTOR_BYTES]
    primary = _read("primary", primary_sector, head[2 * SECTOR_BYTES :], _Place(1, last, 2, last))
    backup_place = _Place(last, 1, last - TABLE_SECTORS, last)
    backup = _read("backup", tail[-SECTOR_BYTES:], tail[:-SECTOR_BYTES], backup_place)
    damage += [*primary.damage, *backup.damage]
    if primary.table and backup.table and primary.table != backup.table:
        damage.append("the two tables differ: the primary counts")
    return Reading(primary.table or backup.table, tuple(damage))


def _protective_mbr(sectors: int, code: bytes) -> bytes:
    """One entry over the whole disk, so that tools which know no GPT see it as taken."""
    if len(code) > _BOOT_CODE_BYTES:
        raise UsageError(
            f"{len(code)} bytes of boot code do not fit", f"at most {_BOOT_CODE_BYTES} do"
        )
    size = min(sectors - 1, 0xFFFFFFFF)
    entry = _MBR_ENTRY.pack(0, b"\x00\x02\x00", _PROTECTIVE, b"\xff\xff\xff", 1, size)
    return code.ljust(_BOOT_CODE_BYTES, b"\0") + entry.ljust(64, b"\0") + _MBR_END


def _encode_entries(table: Table) -> bytes:
    entries = [_UNUSED] * ENTRIES
    for extent in table.extents:
        entries[extent.index - 1] = _ENTRY.pack(
            extent.kind.bytes_le,
            extent.guid.bytes_le,
            extent.first,
            extent.last,
            extent.attributes,
            extent.name.encode("utf-16-le"),
        )
    return b"".join(entries)


def _encode_header(table: Table, entries: bytes, *, own: int, other: int, entries_at: int) -> bytes:
    def packed(checksum: int) -> bytes:
        return _HEADER.pack(
            _SIGNATURE,
            _REVISION,
            _HEADER.size,
            checksum,
            0,
            own,
            other,
            table.first_usable,
            table.last_usable,
            table.disk_guid.bytes_le,
            entries_at,
            ENTRIES,
            ENTRY_BYTES,
            zlib.crc32(entries),
        )

    # The checksum is made over a header whose own checksum is zero.
    return packed(zlib.crc32(packed(0))).ljust(SECTOR_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a copy lies and what it should say of itself, in sectors."""

    own: int
    other: int
    entries_at: int
    disk_last: int


@dataclass(frozen=True, slots=True)
class _Header:
    """The fields of one header that are not fixed."""

    own: int
    other: int
    first_usable: int
    last_usable: int
    disk_guid: UUID
    entries_at: int
    entries_crc: int


def _read(which: str, sector: bytes, entries: bytes, place: _Place) -> Reading:
    """One copy of the table; ``which`` is its name for people."""
    try:
        header = _read_header(sector)
        if (header.own, header.entries_at) != (place.own, place.entries_at):
            raise _Damaged("header: was made for another place on the disk")
        if zlib.crc32(entries) != header.entries_crc:
            raise _Damaged("entries: checksum does not hold")
        extents = _read_entries(entries, header, place.disk_last)
    except _Damaged as error:
        return Reading(None, (f"{which} {error}",))
    table = Table(
        disk_guid=header.disk_guid,
        sectors=place.disk_last + 1,
        first_usable=header.first_usable,
        last_usable=header.last_usable,
        extents=extents,
    )
    if header.other != place.other:
        # What a disk looks like that was made larger: the table is good, its copy is elsewhere.
        said = f"{which} header: puts the other copy at sector {header.other}, not {place.other}"
        return Reading(table, (said,))
    return Reading(table, ())


def _read_header(sector: bytes) -> _Header:
    fields = _HEADER.unpack_from(sector)
    signature, revision, size, checksum, reserved = fields[:5]
    if signature != _SIGNATURE:
        raise _Damaged("header: no GPT signature")
    if (revision, size, reserved) != (_REVISION, _HEADER.size, 0):
        raise _Damaged("header: neither revision 1.0 nor 92 bytes long")
    blank = sector[:_CRC_AT] + bytes(4) + sector[_CRC_AT + 4 : size]
    if zlib.crc32(blank) != checksum:
        raise _Damaged("header: checksum does not hold")
    if any(sector[size:]):
        raise _Damaged("header: something is written behind it")
    own, other, first_usable, last_usable, guid, entries_at, count, width, crc = fields[5:]
    if (count, width) != (ENTRIES, ENTRY_BYTES):
        raise _Damaged(f"header: {count} entries of {width} bytes, not {ENTRIES} of {ENTRY_BYTES}")
    disk_guid = UUID(bytes_le=guid)
    return _Header(own, other, first_usable, last_usable, disk_guid, entries_at, crc)


def _read_entries(entries: bytes, header: _Header, disk_last: int) -> tuple[Extent, ...]:
    if not HEAD_SECTORS <= header.first_usable <= header.last_usable + 1 <= disk_last:
        raise _Damaged("header: usable sectors lie outside of the disk")
    extents = [
        _read_entry(entries[at : at + ENTRY_BYTES], at // ENTRY_BYTES + 1)
        for at in range(0, len(entries), ENTRY_BYTES)
        if any(entries[at : at + 16])
    ]
    free = header.first_usable
    for extent in sorted(extents, key=lambda extent: extent.first):
        if not free <= extent.first <= extent.last <= header.last_usable:
            raise _Damaged(f"entries: partition {extent.index} overlaps or lies outside")
        free = extent.last + 1
    return tuple(extents)


def _read_entry(raw: bytes, index: int) -> Extent:
    kind, guid, first, last, attributes, name = _ENTRY.unpack(raw)
    return Extent(
        index=index,
        name=name.decode("utf-16-le", "replace").split("\0", 1)[0],
        kind=UUID(bytes_le=kind),
        guid=UUID(bytes_le=guid),
        first=first,
        last=last,
        attributes=attributes,
    )


def _mbr_damage(head: bytes) -> list[str]:
    if head[SECTOR_BYTES - 2 : SECTOR_BYTES] != _MBR_END:
        return ["protective MBR: does not end with 55 aa"]
    _, _, kind, _, first, _ = _MBR_ENTRY.unpack_from(head, _BOOT_CODE_BYTES)
    if (kind, first) != (_PROTECTIVE, 1):
        return ["protective MBR: does not cover the disk"]
    return []
