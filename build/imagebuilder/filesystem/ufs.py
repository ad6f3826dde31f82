"""Writes a tree as a UFS2 file system into a file, the same bytes on every machine.

The shell of its room: it reads the sources and writes the target. What lies where is decided by
``geometry`` and ``allocation``; what it looks like by ``superblock`` and ``inodes``. The file
system is meant to be mounted read-only: there are no clusters, no check hashes, no soft updates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem import geometry as layout
from imagebuilder.filesystem.accounts import Accounts, require_owners
from imagebuilder.filesystem.allocation import Allocator, SlotFull
from imagebuilder.filesystem.inodes import (
    LINKS_MAX,
    NAME_BYTES_MAX,
    Inode,
    encode_folder,
    fits_inline,
    flag_bits,
)
from imagebuilder.filesystem.mountable import superblock_problems
from imagebuilder.filesystem.superblock import (
    DIRECT_BLOCKS,
    POINTERS_PER_BLOCK,
    encode_group,
    encode_superblock,
    summarise,
    total,
)
from maculaos.errors import LocalProtocolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from imagebuilder.filesystem.tree import Tree

_CHUNK_BYTES: Final = 1 << 20
_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """How full a written file system is."""

    size_bytes: int
    used_bytes: int
    inodes_used: int
    inodes: int


def write_ufs(
    tree: Tree,
    accounts: Accounts,
    target: Path,
    *,
    size: int,
    time_s: int,
    group_fragments_max: int = layout.GROUP_FRAGMENTS_MAX,
) -> Usage:
    """Write ``tree`` as UFS2 of ``size`` bytes to ``target``; every time in it is ``time_s``.

    The target appears at once and whole. Raises ``UsageError`` for an unknown owner or flag, a
    name that is too long, a file that is gone or changed meanwhile, and a tree that does not fit.
    """
    require_owners(tree.entries, accounts)
    numbers = _number_inodes(tree)
    plan = layout.plan_geometry(size, max(numbers.values()) + 1, group_fragments_max)
    temporary = target.with_name(f".{target.name}.partial")
    try:
        with temporary.open("w+b") as file:
            file.truncate(size)
            usage = _Writer(file, plan, accounts, time_s).write(tree, numbers)
        temporary.replace(target)
    except SlotFull:
        raise _too_full(tree, plan, size) from None
    finally:
        temporary.unlink(missing_ok=True)
    return Usage(size, usage, len(set(numbers.values())), plan.inodes)


def needed_bytes(tree: Tree) -> int:
    """What the files of ``tree`` take in fragments, without folders and tables."""
    return sum(
        -(-entry.source.stat().st_size // layout.FRAGMENT_BYTES) * layout.FRAGMENT_BYTES
        for entry in tree.entries
        if entry.source is not None and not entry.is_hard_link
    )


def _too_full(tree: Tree, plan: layout.Geometry, size: int) -> UsageError:
    tables = (plan.groups * plan.data_at) * layout.FRAGMENT_BYTES
    needed, room = needed_bytes(tree), size - tables
    return UsageError(
        f"the tree does not fit: its files need {needed / _MIB:.1f} MiB,"
        f" the slot of {size / _MIB:.1f} MiB has room for {room / _MIB:.1f} MiB",
        "make the slot larger, or prune more",
    )


def _number_inodes(tree: Tree) -> dict[str, int]:
    """Inode numbers by path, in the order of the tree; hard links share one."""
    numbers: dict[str, int] = {}
    free = layout.FIRST_INODE
    for entry in tree.entries:
        if entry.is_hard_link:
            numbers[entry.path] = numbers[entry.same_as]
        else:
            numbers[entry.path] = free
            free += 1
    return numbers


class _Writer:
    def __init__(
        self, file: BinaryIO, plan: layout.Geometry, accounts: Accounts, time_s: int
    ) -> None:
        self._file = file
        self._plan = plan
        self._accounts = accounts
        self._time_s = time_s
        self._allocator = Allocator(plan)

    def write(self, tree: Tree, numbers: Mapping[str, int]) -> int:
        """Everything; returns the bytes used by content."""
        children = _children(tree)
        links = _link_counts(tree, children)
        for entry in tree.entries:
            if entry.is_hard_link:
                continue
            inode = self._content(entry, children, numbers)
            inode.links = links[entry.path]
            if inode.links > LINKS_MAX:
                raise UsageError(f"{entry.path}: more than {LINKS_MAX} links", "prune some")
            number = numbers[entry.path]
            self._put(
                self._plan.inode_offset(number), inode.encode(self._time_s, layout.BLOCK_BYTES)
            )
            self._allocator.use_inode(number, folder=entry.kind is Kind.FOLDER)
        self._tables()
        return self._allocator.used_fragments * layout.FRAGMENT_BYTES

    def _content(
        self, entry: Entry, children: Mapping[str, list[Entry]], numbers: Mapping[str, int]
    ) -> Inode:
        if entry.kind is Kind.FILE:
            return self._file_content(entry)
        if entry.kind is Kind.SYMLINK:
            content = os.fsencode(entry.target)
            inode = self._inode(entry, len(content))
            if fits_inline(content):
                inode.inline = content
                return inode
        else:
            names = [
                (_name_of(each), numbers[each.path], each.kind) for each in children[entry.path]
            ]
            parent = numbers[entry.path.rpartition("/")[0]]
            content = encode_folder(numbers[entry.path], parent, names)
            inode = self._inode(entry, len(content))
            inode.depth = len(entry.path.split("/")) if entry.path else 0
        for offset, place, length in self._place(inode):
            self._put(place, content[offset : offset + length])
        return inode

    def _inode(self, entry: Entry, size: int) -> Inode:
        user, group = self._accounts.user(entry.owner), self._accounts.group(entry.group)
        if user is None or group is None:
            raise LocalProtocolError(f"{entry.path}: owners are checked before anything is written")
        try:
            flags = flag_bits(entry.flags)
        except KeyError as error:
            raise UsageError(
                f"{entry.path}: the file flag {error.args[0]!r} is unknown", "see chflags(1)"
            ) from None
        return Inode(
            kind=entry.kind, mode=entry.mode, user=user, group=group, flags=flags, size=size
        )

    def _file_content(self, entry: Entry) -> Inode:
        if entry.source is None:
            raise LocalProtocolError(f"{entry.path}: a file without bytes")
        try:
            with entry.source.open("rb") as source:
                inode = self._inode(entry, os.fstat(source.fileno()).st_size)
                for offset, place, length in self._place(inode):
                    self._copy(source, offset, place, length)
        except (OSError, EOFError) as error:
            raise UsageError(
                f"{entry.path}: cannot read {entry.source}: {error}", "build again"
            ) from error
        return inode

    def _copy(self, source: BinaryIO, offset: int, place: int, length: int) -> None:
        source.seek(offset)
        while length > 0:
            chunk = source.read(min(length, _CHUNK_BYTES))
            if not chunk:
                raise EOFError("it became shorter while it was copied")
            self._put(place, chunk)
            place += len(chunk)
            length -= len(chunk)

    def _place(self, inode: Inode) -> list[tuple[int, int, int]]:
        """Room for the content: runs of offset, place on the disk, and length, all in bytes."""
        blocks, rest = divmod(inode.size, layout.BLOCK_BYTES)
        addresses = [self._allocator.block() for _ in range(blocks)]
        held = blocks * layout.BLOCK_BYTES
        if rest and blocks >= DIRECT_BLOCKS:
            addresses.append(self._allocator.block())
            held += layout.BLOCK_BYTES
        elif rest:
            # Only a file that needs no indirect block may end in a tail.
            fragments = -(-rest // layout.FRAGMENT_BYTES)
            addresses.append(self._allocator.tail(fragments))
            held += fragments * layout.FRAGMENT_BYTES
        inode.direct = addresses[:DIRECT_BLOCKS]
        inode.held_bytes = held + self._index(inode, addresses[DIRECT_BLOCKS:])
        return _runs(addresses, inode.size)

    def _index(self, inode: Inode, addresses: list[int]) -> int:
        """Indirect blocks for what the inode cannot address itself; their bytes."""
        level, written = 1, 0
        while addresses:
            reach = POINTERS_PER_BLOCK**level
            root, blocks = self._pointers(addresses[:reach], level)
            inode.indirect.append(root)
            written += blocks
            addresses, level = addresses[reach:], level + 1
        return written * layout.BLOCK_BYTES

    def _pointers(self, addresses: list[int], level: int) -> tuple[int, int]:
        """A block of pointers over ``addresses``: its address, and the blocks it took."""
        written = 1
        if level > 1:
            reach = POINTERS_PER_BLOCK ** (level - 1)
            below = [
                self._pointers(addresses[start : start + reach], level - 1)
                for start in range(0, len(addresses), reach)
            ]
            addresses = [address for address, _ in below]
            written += sum(blocks for _, blocks in below)
        place = self._allocator.block()
        block = b"".join(address.to_bytes(8, "little") for address in addresses)
        self._put(place * layout.FRAGMENT_BYTES, block)
        return place, written

    def _tables(self) -> None:
        """Group headers, summaries, the superblock and its copies."""
        states = self._allocator.groups
        summaries = [summarise(self._plan, state)[0] for state in states]
        superblock = encode_superblock(self._plan, total(summaries), self._time_s)
        if problems := superblock_problems(superblock):
            raise LocalProtocolError(f"FreeBSD would refuse this: {'; '.join(problems)}")
        for group, state in enumerate(states):
            base = self._plan.base(group)
            header = encode_group(self._plan, group, state, self._time_s)
            self._put((base + layout.COPY_AT) * layout.FRAGMENT_BYTES, superblock)
            self._put((base + layout.GROUP_AT) * layout.FRAGMENT_BYTES, header)
        places = self._plan.data_at * layout.FRAGMENT_BYTES
        self._put(places, b"".join(summary.encode() for summary in summaries))
        self._put(layout.SUPERBLOCK_AT, superblock)

    def _put(self, place: int, content: bytes) -> None:
        # The file is made of zeros already; what is zero need not take room on the build host.
        if content.count(0) != len(content):
            self._file.seek(place)
            self._file.write(content)


def _children(tree: Tree) -> dict[str, list[Entry]]:
    children: dict[str, list[Entry]] = {
        entry.path: [] for entry in tree.entries if entry.kind is Kind.FOLDER
    }
    for entry in tree.entries:
        if entry.path:
            children[entry.path.rpartition("/")[0]].append(entry)
    return children


def _link_counts(tree: Tree, children: Mapping[str, list[Entry]]) -> dict[str, int]:
    links: dict[str, int] = {}
    for entry in tree.entries:
        if entry.is_hard_link:
            links[entry.same_as] += 1
        elif entry.kind is Kind.FOLDER:
            folders = sum(each.kind is Kind.FOLDER for each in children[entry.path])
            links[entry.path] = 2 + folders
        else:
            links[entry.path] = 1
    return links


def _name_of(entry: Entry) -> bytes:
    name = os.fsencode(entry.path.rpartition("/")[2])
    if len(name) > NAME_BYTES_MAX:
        raise UsageError(
            f"{entry.path}: a name of {len(name)} bytes", f"names have at most {NAME_BYTES_MAX}"
        )
    return name


def _runs(addresses: list[int], size: int) -> list[tuple[int, int, int]]:
    """Blocks that follow one another on the disk, as offset, place and length in bytes."""
    runs: list[tuple[int, int, int]] = []
    for index, address in enumerate(addresses):
        offset, place = index * layout.BLOCK_BYTES, address * layout.FRAGMENT_BYTES
        length = min(layout.BLOCK_BYTES, size - offset)
        if runs and runs[-1][1] + runs[-1][2] == place:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + length)
        else:
            runs.append((offset, place, length))
    return runs
