"""Writes a compressed disk image to a disk, and reads it back; runs on a rescue system.

``write_disk.py check DISK BYTES`` refuses a disk that must not be written to.
``write_disk.py write DISK BYTES IMAGE PACKED_SHA256 DISK_SHA256`` checks the image, the disk, and
writes. Any Python from 3.8 on is enough; ``zstd`` unpacks.

The first MiB, without which nothing starts from the disk, is written last, after all the rest was
read back. So an interrupted run leaves a disk that does not start, and a second run completes it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess  # noqa: TID251  # it runs where nothing of ours is installed
import sys
from typing import BinaryIO

MIB = 1 << 20
HEAD_BYTES = MIB
CHUNK_BYTES = 4 * MIB
# A window of 512 MiB: both slots are stored for the price of one.
UNPACK = ("zstd", "-d", "-c", "-q", "--long=29")
# FreeBSD's way to ask what is mounted.
MOUNTED = ("/sbin/mount", "-p")
MOUNTS = "/proc/mounts"
SWAPS = "/proc/swaps"
USAGE = "write_disk: check DISK BYTES | write DISK BYTES IMAGE PACKED_SHA256 DISK_SHA256"


class Refused(Exception):
    """One line for people."""


def main() -> int:
    """Run one verb; nothing is written before the last refusal."""
    try:
        verb, disk, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
        image, packed, whole = sys.argv[4:7] if verb == "write" else ("", "", "")
        if verb not in ("check", "write"):
            raise ValueError(verb)
    except (IndexError, ValueError):
        sys.stderr.write(USAGE + "\n")
        return 2
    try:
        check_disk(disk, size)
        if verb == "write":
            check_image(image, packed)
            write(disk, size, image, whole)
    except (Refused, OSError) as error:
        sys.stderr.write(f"write_disk: {error}\n")
        return 1
    return 0


def check_disk(path: str, size: int) -> None:
    """Raise ``Refused`` for what is no disk, is too small, or is in use."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    # FreeBSD's disks are character devices; a file is the disk of a virtual machine.
    if not (stat.S_ISBLK(mode) or stat.S_ISCHR(mode) or stat.S_ISREG(mode)):
        raise Refused(f"{path} is no disk")
    user = user_of(os.path.realpath(path), used_devices())
    if user:
        raise Refused(f"{path} is in use: {user}")
    with open(path, "rb") as disk:
        room = disk.seek(0, os.SEEK_END)
    if room < size:
        raise Refused(f"{path} has {room // MIB} MiB, the image {size // MIB}")


def used_devices() -> list[str]:
    """Every device that is mounted or swapped to."""
    found = []
    for source in (MOUNTS, SWAPS):
        if os.path.exists(source):
            with open(source, encoding="utf-8", errors="replace") as lines:
                found += [line.split()[0] for line in lines if line.startswith("/")]
    if not os.path.exists(MOUNTS):
        listed = subprocess.check_output(MOUNTED)  # noqa: S603  # a list of words
        found += [line.split()[0].decode() for line in listed.splitlines() if line[:1] == b"/"]
    return [os.path.realpath(device) for device in found]


def user_of(disk: str, used: list[str]) -> str:
    """Who uses the disk or one of its partitions (sda1, nvme0n1p1, da0p1); or nothing."""
    for device in used:
        rest = device[len(disk) :] if device.startswith(disk) else None
        if rest is not None and (not rest or rest.lstrip("ps").isdigit()):
            return f"{device} is mounted, or swap"
    name = os.path.basename(disk)
    for folder in (f"/sys/class/block/{name}", f"/sys/block/{name}"):
        for part in (folder, *partitions(folder, name)):
            holders = os.path.join(part, "holders")
            if os.path.isdir(holders) and os.listdir(holders):
                return f"it is part of {', '.join(sorted(os.listdir(holders)))}"
    return ""


def partitions(folder: str, name: str) -> list[str]:
    """The partitions of a Linux disk, as folders."""
    if not os.path.isdir(folder):
        return []
    return [os.path.join(folder, each) for each in os.listdir(folder) if each.startswith(name)]


def check_image(path: str, wanted: str) -> None:
    """Raise ``Refused`` if the compressed image is not the one that was signed."""
    with open(path, "rb") as image:
        if digest_of(image, os.fstat(image.fileno()).st_size) != wanted:
            raise Refused(f"{path} is not the signed image; nothing was written")


def write(path: str, size: int, image: str, wanted: str) -> None:
    """Unpack to the disk, the beginning last; raises ``Refused`` if it is not what was wanted."""
    with open(path, "r+b", buffering=0) as disk:
        room = disk.seek(0, os.SEEK_END)
        for offset in (0, room - HEAD_BYTES):
            put(disk, offset, bytes(HEAD_BYTES))
        settle(disk)
        head, written = unpack(disk, size, image)
        settle(disk)
        if written != wanted:
            raise Refused(f"{image} does not unpack to the signed disk")
        if whole_digest(disk, head, size) != wanted:
            raise Refused(f"{path} does not keep what is written to it")
        put(disk, 0, head)
        settle(disk)
        disk.seek(0)
        if digest_of(disk, size) != wanted:
            raise Refused(f"{path} does not keep what is written to it")


def unpack(disk: BinaryIO, size: int, image: str) -> tuple[bytes, str]:
    """Stream to the disk all but the head; the head, and the digest of everything."""
    digest, head, offset = hashlib.sha256(), b"", 0
    argv = (*UNPACK, image)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as unpacking:  # noqa: S603  # a list of words
        stream = unpacking.stdout
        assert stream is not None  # noqa: S101  # it was asked for
        while (chunk := stream.read(CHUNK_BYTES)) and offset + len(chunk) <= size:
            digest.update(chunk)
            if offset == 0:
                head = chunk[:HEAD_BYTES]
            put(disk, max(offset, HEAD_BYTES), chunk[HEAD_BYTES:] if offset == 0 else chunk)
            offset += len(chunk)
        if chunk:
            # More than the disk was said to have.
            unpacking.kill()
    return head, digest.hexdigest()


def whole_digest(disk: BinaryIO, head: bytes, size: int) -> str:
    """The digest of the disk, as if the head were there."""
    digest = hashlib.sha256(head)
    disk.seek(len(head))
    update(digest, disk, size - len(head))
    return digest.hexdigest()


def digest_of(file: BinaryIO, size: int) -> str:
    """SHA-256 of so many bytes from here on."""
    digest = hashlib.sha256()
    update(digest, file, size)
    return digest.hexdigest()


def update(digest: hashlib._Hash, file: BinaryIO, size: int) -> None:
    """Feed so many bytes from here on; what the file lacks is missing in the digest."""
    while size > 0:
        chunk = file.read(min(size, CHUNK_BYTES))
        if not chunk:
            return
        digest.update(chunk)
        size -= len(chunk)


def put(disk: BinaryIO, offset: int, content: bytes) -> None:
    """All of it, at that place."""
    disk.seek(offset)
    rest = memoryview(content)
    while rest:
        rest = rest[disk.write(rest) :]


def settle(disk: BinaryIO) -> None:
    """Return when it lies on the disk, and is read from there."""
    os.fsync(disk.fileno())
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
