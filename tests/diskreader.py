"""Built disks, read back by programs that share no code with what wrote them."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECTOR = 512
ENVIRONMENT = {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin", "MTOOLS_SKIP_CHECK": "1", "LC_ALL": "C"}


def run(*argv: str) -> bytes:
    """What a tool says."""
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, check=True, timeout=60)
    return done.stdout


@dataclass(frozen=True)
class Row:
    """A partition as sgdisk shows it; ``first`` and ``size`` in sectors."""

    number: int
    name: str
    code: str
    first: int
    size: int


def rows(disk: Path) -> list[Row]:
    """Every partition, in the order of numbers."""
    shown = run("sgdisk", "--print", str(disk)).decode()
    found = re.findall(r"^ +(\d+) +(\d+) +(\d+) .* ([0-9A-F]{4})  (\w+)$", shown, re.MULTILINE)
    return [
        Row(int(number), name, code, int(first), int(last) - int(first) + 1)
        for number, first, last, code, name in found
    ]


def partition(disk: Path, number: int) -> bytes:
    """The bytes of a partition, where sgdisk says that it lies."""
    row = rows(disk)[number - 1]
    with disk.open("rb") as file:
        file.seek(row.first * SECTOR)
        return file.read(row.size * SECTOR)


def file_system(content: bytes) -> dict[str, Any]:
    """Every path of a UFS2 file system, by dissect.ffs."""
    ffs = pytest.importorskip("dissect.ffs.ffs", reason="dissect.ffs is not installed")
    return dict(_walk(ffs.FFS(io.BytesIO(content)).root, ""))


def _walk(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, node
    if node.is_dir() and not node.is_symlink():
        for name, child in node.listdir().items():
            if name not in (".", ".."):
                yield from _walk(child, f"{path}/{name}" if path else name)
