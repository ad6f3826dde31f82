"""The disk file: partition table and contents in their places, written once from start to end.

The file is sparse: zeros take no room. Each byte is hashed as it passes, so the checksum is that
of what was meant to be written, not of what a page cache says later. What is in the partitions is
the matter of whoever made the content files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from imagebuilder.disk import gpt
from imagebuilder.disk.drafts import draft
from imagebuilder.disk.partitions import KIB, MIB, SECTOR_BYTES, Extent, Table
from imagebuilder.disk.progress import Progress, silent
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator


# The smallest hole: what is read at once, and skipped if it is all zeros.
_BLOCK_BYTES: Final = 64 * KIB
_ZEROS: Final = bytes(MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a disk is made of; a partition without a content file stays all zeros."""

    table: Table
    # By the name of the partition. One file may stand for several.
    contents: Mapping[str, Path]
    # The first 446 bytes of the disk; none where the firmware is UEFI only.
    boot_code: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A disk file that was written."""

    path: Path
    size_bytes: int
    sha256: str


def write_disk(parts: Parts, target: Path, progress: Progress = silent) -> Disk:
    """Write the disk to ``target``, replacing it only when all is written.

    Raises ``UsageError`` for a content file that is missing, is larger than its partition, belongs
    to no partition or changes while it is read.
    """
    sizes = _content_sizes(parts)
    encoded = gpt.encode(parts.table, parts.boot_code)
    with draft(target) as path, path.open("wb") as file:
        output = _Output(file, parts.table.size_bytes, progress)
        progress(0, parts.table.size_bytes)
        output.write(encoded.head)
        for extent in sorted(parts.table.extents, key=lambda extent: extent.first):
            output.zeros_until(extent.offset_bytes)
            if extent.name in sizes:
                _copy(parts.contents[extent.name], sizes[extent.name], output)
        output.zeros_until(parts.table.size_bytes - len(encoded.tail))
        output.write(encoded.tail)
        file.truncate(output.position)
    return Disk(path=target, size_bytes=output.position, sha256=output.digest.hexdigest())


def read_table(path: Path) -> gpt.Reading:
    """The partition table of a disk file or a whole disk, and what is damaged in it."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        sectors = size // SECTOR_BYTES
        if size % SECTOR_BYTES or sectors < gpt.SECTORS_MIN:
            raise UsageError(
                f"{path} is no disk: {size} bytes", f"a disk is whole sectors of {SECTOR_BYTES}"
            )
        file.seek(0)
        head = file.read(gpt.HEAD_BYTES)
        file.seek(size - gpt.TAIL_BYTES)
        return gpt.parse(head, file.read(gpt.TAIL_BYTES), sectors)


def copy_partition(disk: Path, extent: Extent, target: Path) -> None:
    """Write what lies in one partition of a disk file to a file of its own."""
    with draft(target) as path, path.open("wb") as output, disk.open("rb") as file:
        file.seek(extent.offset_bytes)
        for block in _blocks(file, extent.size_bytes):
            output.write(block)


@dataclass(slots=True)
class _Output:
    """The disk file as it grows: where it stands, and the hash of all before."""

    file: BinaryIO
    total: int
    progress: Progress
    position: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, block: bytes) -> None:
        """Append ``block``; one of zeros becomes a hole."""
        if block == _ZEROS[: len(block)]:
            self.file.seek(len(block), 1)
        else:
            self.file.write(block)
        self._passed(block)

    def zeros_until(self, position: int) -> None:
        """Leave a hole from here to ``position``."""
        self.file.seek(position)
        while self.position < position:
            self._passed(_ZEROS[: position - self.position])

    def _passed(self, block: bytes) -> None:
        self.digest.update(block)
        self.position += len(block)
        self.progress(self.position, self.total)


def _content_sizes(parts: Parts) -> dict[str, int]:
    """The size of each content file, which fits its partition."""
    sizes: dict[str, int] = {}
    for name, path in parts.contents.items():
        room = parts.table.find(name).size_bytes
        try:
            sizes[name] = path.stat().st_size
        except OSError as error:
            raise UsageError(
                f"nothing to put into partition {name}: {path}: {error.strerror}",
                "build that file first",
            ) from error
        if sizes[name] > room:
            raise UsageError(
                f"{path} has {sizes[name]} bytes, partition {name} holds {room}",
                "make the partition larger in image/image.toml, or put less into it",
            )
    return sizes


def _copy(source: Path, size: int, output: _Output) -> None:
    with source.open("rb") as file:
        for block in _blocks(file, size):
            output.write(block)
        if file.read(1):
            raise UsageError(f"{source} grew while it was read", "build again, with one build only")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes of ``file``, in blocks."""
    left = size
    while left:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            raise UsageError(f"{file.name} ended {left} bytes early", "build that file again")
        left -= len(block)
        yield block
