"""Formats of a disk: qcow2 and vmdk for virtual machines, xz and zstd for the way there.

The raw disk is the one truth; everything here is made from it and gives the same bytes for the
same disk and the same versions of qemu-img, xz and zstd, on any number of processors. Options
that decide about bytes are stated here and never taken from the environment.
"""

from __future__ import annotations

import os
import re
import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from imagebuilder.disk.drafts import draft
from imagebuilder.disk.partitions import MIB, SECTOR_BYTES
from imagebuilder.disk.tools import run_tool
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.commands import CommandRunner

THREADS_MAX: Final = 32


class Format(StrEnum):
    """What virtual machines read, by qemu-img's names."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"


# Compressed qcow2 of the version that every QEMU since 1.1 reads; one vmdk file that grows.
_CONVERSION: Final = {
    Format.RAW: (),
    Format.QCOW2: ("-c", "-o", "compat=1.1,cluster_size=65536,compression_type=zlib"),
    Format.VMDK: ("-o", "subformat=monolithicSparse,adapter_type=ide"),
}
# VMDK 1.1 specification, "Hosted Sparse Extents": where the embedded descriptor is, in sectors.
_VMDK_HEADER: Final = struct.Struct("<4sIIQQQQ")
_VMDK_MAGIC: Final = b"KDMV"
_VMDK_DESCRIPTOR_SECTORS_MAX: Final = 128
_CONTENT_ID: Final = re.compile(rb"^CID=[0-9a-f]{1,8}$", re.MULTILINE)
# Any number will do, as long as no snapshot is chained to it; qemu-img draws one.
_FIXED_ID: Final = b"CID=6d616375"

# Settings in the environment come before the command line's, or join it.
_DEAF: Final = ("-u", "XZ_DEFAULTS", "-u", "XZ_OPT", "-u", "ZSTD_CLEVEL", "-u", "ZSTD_NBTHREADS")
_XZ_BLOCK_BYTES: Final = 24 * MIB


def convert(runner: CommandRunner, raw: Path, target: Path, form: Format) -> None:
    """Write the raw disk in another format to ``target``, and compare what both hold.

    Raises ``CommandFailed`` when qemu-img fails or finds a difference.
    """
    with draft(target) as path:
        words = ("-f", "raw", "-O", form.value, *_CONVERSION[form])
        run_tool(runner, "qemu-img", "convert", *words, str(raw), str(path))
        if form is Format.VMDK:
            _fix_content_id(path)
        compare(runner, raw, path, form)


def compare(runner: CommandRunner, raw: Path, other: Path, form: Format) -> None:
    """Raise ``CommandFailed`` unless both disks hold the same bytes."""
    run_tool(runner, "qemu-img", "compare", "-f", "raw", "-F", form.value, str(raw), str(other))


def compress_xz(runner: CommandRunner, source: Path, target: Path) -> None:
    """Compress with xz: preset 6, blocks of 24 MiB, SHA-256 of each block inside.

    More than one thread is always asked for: xz with a single one cuts no blocks, and so writes
    other bytes. The number above that makes no difference.
    """
    words = ("--format=xz", "--check=sha256", "-6", f"--block-size={_XZ_BLOCK_BYTES}")
    with draft(target) as path:
        # xz has no option for where to write: it gets a second name of the source beside there.
        beside = path.with_name("disk")
        os.symlink(source.resolve(), beside)
        threads = f"--threads={_threads()}"
        # --force: xz refuses symbolic links without it.
        argv = ("xz", "--quiet", "--keep", "--force", *words, threads, str(beside))
        run_tool(runner, *argv, environment=_DEAF)
        beside.with_name("disk.xz").replace(path)


def compress_zstd(runner: CommandRunner, source: Path, target: Path, window_log: int = 27) -> None:
    """Compress with zstd, level 19, a checksum inside.

    ``window_log`` is how far back a repetition is found, as a power of two, 20 to 30. Up to 27
    (128 MiB) any zstd unpacks it. A window larger than a slot stores both slots for the price of
    one, and wants ``zstd --long=30`` and as much memory to unpack.
    """
    if not 20 <= window_log <= 30:
        raise UsageError(f"zstd has no window of 2^{window_log} here", "choose 20 to 30")
    words = ("-19", f"--long={window_log}", "--check", f"--threads={_threads()}")
    with draft(target) as path:
        argv = ("zstd", "--quiet", *words, str(source), "-o", str(path))
        run_tool(runner, *argv, environment=_DEAF)


def _threads() -> int:
    return max(2, min(os.cpu_count() or 2, THREADS_MAX))


def _fix_content_id(path: Path) -> None:
    """Put a fixed content id into the descriptor of a vmdk; the descriptor keeps its length."""
    with path.open("r+b") as file:
        magic, _, _, _, _, at, sectors = _VMDK_HEADER.unpack(file.read(_VMDK_HEADER.size))
        if magic != _VMDK_MAGIC or not 0 < sectors <= _VMDK_DESCRIPTOR_SECTORS_MAX:
            raise UsageError(f"{path.name} is no vmdk with a descriptor inside", "check qemu-img")
        file.seek(at * SECTOR_BYTES)
        room = sectors * SECTOR_BYTES
        # The text ends at its first NUL. qemu-img writes a new id over the old text: one of fewer
        # digits leaves the last bytes of the old text behind that end, one time in sixteen.
        text = file.read(room).partition(b"\0")[0]
        fixed, count = _CONTENT_ID.subn(_FIXED_ID, text)
        if count != 1 or len(fixed) > room:
            raise UsageError(f"{path.name} has no single content id", "check qemu-img")
        file.seek(at * SECTOR_BYTES)
        file.write(fixed.ljust(room, b"\0"))
