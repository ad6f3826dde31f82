"""The folder of an image: what is published there, and whether it is as its maker left it.

Published files are hard links to what the steps made, so they take no room. The checksums come
last: a folder whose ``SHA256SUMS`` and signature hold is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, Final

from imagebuilder.disk.bundle import verify_bundle
from imagebuilder.disk.checksums import SUMS, check_sums, format_sums, parse_sums
from imagebuilder.disk.disk import read_table
from imagebuilder.disk.layout import ESP, INSTALLER, SLOTS, SYSTEM
from imagebuilder.disk.signature import SUFFIX, SignatureRefused, load_public_key, verify_file
from imagebuilder.filesystem.geometry import FRAGMENT_BYTES
from maculaos.errors import UsageError
from maculaos.host.files import sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from imagebuilder.disk.partitions import Extent, Table

SIZES_SUFFIX: Final = ".sizes.json"
_SIZES_BYTES_MAX: Final = 16 << 20
# Whole fragments.
_CHUNK_BYTES: Final = 1 << 20


def publish(files: Sequence[Path], out: Path) -> None:
    """Link ``files`` into ``out``, the checksums and their signature last."""
    if all(_is_same(file, out / file.name) for file in files):
        return
    # Until all is in place, nothing vouches for the folder.
    for name in (f"{SUMS}{SUFFIX}", SUMS):
        (out / name).unlink(missing_ok=True)
    for file in sorted(files, key=lambda file: (file.name.startswith(SUMS), file.name)):
        if _is_same(file, out / file.name):
            # rename(2) between two names of one file does nothing, and would leave the draft.
            continue
        draft = out / f".{file.name}.link"
        draft.unlink(missing_ok=True)
        os.link(file, draft)
        draft.replace(out / file.name)
    sync_directory(out)


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def published(out: Path) -> dict[str, str]:
    """Name and SHA-256 of every file of the image in ``out``; raises ``UsageError``."""
    try:
        return parse_sums((out / SUMS).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise _no_image(out) from error


def sizes_of(out: Path) -> Any:
    """What the image in ``out`` says of its sizes; raises ``UsageError``."""
    names = [name for name in published(out) if name.endswith(SIZES_SUFFIX)]
    try:
        with (out / names[0]).open("rb") as file:
            return json.loads(file.read(_SIZES_BYTES_MAX))
    except (OSError, IndexError, ValueError) as error:
        raise _no_image(out) from error


def verify_folder(out: Path, key: Path) -> list[str]:
    """What is wrong with the image in ``out``, one line each; ``key`` is its maker's public key.

    Raises ``UsageError`` where there is no image, or no key to check it by.
    """
    names = published(out)
    trusted = [load_public_key(key)]
    try:
        verify_file(out / SUMS, trusted)
    except UsageError as error:
        return [str(error)]
    problems = list(check_sums(out))
    if problems:
        return problems
    for name in names:
        if name.endswith(".bundle"):
            problems += _bundle_problems(out / name, key)
        elif name.endswith(".img"):
            problems += _disk_problems(out / name)
    return problems


def _bundle_problems(path: Path, key: Path) -> list[str]:
    try:
        verify_bundle(path, [load_public_key(key)])
    except (UsageError, SignatureRefused) as error:
        return [f"{path.name}: {error}"]
    return []


def _disk_problems(path: Path) -> list[str]:
    """What is wrong with the table of a disk, and with copies that its partitions hold."""
    reading = read_table(path)
    problems = [f"{path.name}: {damage}" for damage in reading.damage]
    table = reading.table
    if table is None:
        return problems
    is_stick = any(extent.name == INSTALLER for extent in table.extents)
    are_right = _knows_what_it_copies(path, table) if is_stick else _are_slots_equal(path, table)
    what = "its installer has other checksums" if is_stick else "its two slots differ"
    return problems if are_right else [*problems, f"{path.name}: {what}"]


def _are_slots_equal(disk: Path, table: Table) -> bool:
    return len({_digest(disk, table.find(name)) for name in SLOTS}) == 1


def _knows_what_it_copies(disk: Path, table: Table) -> bool:
    """Whether the installer has a file with the checksums of what lies beside it on the stick."""
    sums = format_sums({name: _digest(disk, table.find(name)) for name in (ESP, SYSTEM)}).encode()
    # A file begins with a fragment of the file system, and one so small lies in that one alone.
    return any(
        chunk.startswith(sums, start)
        for chunk in _chunks(disk, table.find(INSTALLER))
        for start in range(0, len(chunk), FRAGMENT_BYTES)
    )


def _digest(disk: Path, extent: Extent) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(disk, extent):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(disk: Path, extent: Extent) -> Iterator[bytes]:
    """The bytes of a partition."""
    left = extent.size_bytes
    with disk.open("rb") as file:
        file.seek(extent.offset_bytes)
        while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
            yield chunk
            left -= len(chunk)


def _no_image(out: Path) -> UsageError:
    return UsageError(f"no whole image in {out}", "build one: make image")
