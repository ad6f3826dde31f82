"""gpart(8): the partitions of a disk with their boot marks; read only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_TABLE = re.compile(r"=>\s+(\d+)\s+(\d+)\s+(\S+)\s+(\S+)\s+\(\S+\)(\s+\[CORRUPT\])?")
_ENTRY = re.compile(r"\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(?:\[([a-z,]+)\]\s+)?\(\S+\)")
_FREE = re.compile(r"\s+\d+\s+\d+\s+- free -\s+\(\S+\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition; ``start`` and ``size`` in sectors, ``what`` its label, or its type."""

    index: int
    start: int
    size: int
    what: str
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTable:
    """The table of one disk; corrupt means: one of its two copies is wrong or misplaced."""

    disk: str
    scheme: str
    start: int
    size: int
    is_corrupt: bool
    partitions: tuple[Partition, ...]


def labels_argv(*disks: str) -> tuple[str, ...]:
    """The tables of some disks, or of all, with labels."""
    return ("gpart", "show", "-l", *disks)


def types_argv(*disks: str) -> tuple[str, ...]:
    """The tables of some disks, or of all, with types."""
    return ("gpart", "show", *disks)


def parse_tables(text: str) -> tuple[PartitionTable, ...]:
    """Answer of ``labels_argv`` or ``types_argv``; raises ``UnreadableAnswer``."""
    blocks: list[list[str]] = []
    for line in filter(str.strip, text.splitlines()):
        if line.startswith("=>"):
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
        else:
            raise UnreadableAnswer("gpart", line)
    return tuple(_table(block[0], block[1:]) for block in blocks)


def _table(header: str, lines: list[str]) -> PartitionTable:
    match = _TABLE.fullmatch(header)
    if match is None:
        raise UnreadableAnswer("gpart", header)
    return PartitionTable(
        disk=match[3],
        scheme=match[4],
        start=int(match[1]),
        size=int(match[2]),
        is_corrupt=match[5] is not None,
        partitions=tuple(_partition(line) for line in lines if not _FREE.fullmatch(line)),
    )


def _partition(line: str) -> Partition:
    match = _ENTRY.fullmatch(line)
    if match is None:
        raise UnreadableAnswer("gpart", line)
    attributes = frozenset(match[5].split(",")) if match[5] else frozenset()
    return Partition(
        index=int(match[3]),
        start=int(match[1]),
        size=int(match[2]),
        what=match[4],
        attributes=attributes,
    )
