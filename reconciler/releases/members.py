"""What an archive may hold, member by member: names, kinds, sizes, links. Pure.

Every member is admitted or the whole archive is refused: nothing is repaired, skipped or guessed.
A link is followed on paper, through other links and to its end, before it is made; so nothing
written or read through one can leave the folder. Where the bytes go is
``reconciler.releases.unpacking``'s business.
"""

from __future__ import annotations

import unicodedata
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from maculaos.errors import UsageError

# What every file system of ours takes, and what no honest archive comes near.
LONGEST_NAME_BYTES: Final = 255
LONGEST_PATH_BYTES: Final = 1024
DEEPEST: Final = 32
MOST_HOPS: Final = 40
# On top of the declared sizes: archives of small files are packed well by honest means.
RATIO_FREE_BYTES: Final = 16 << 20

_SET_ID: Final = 0o6000
_EXECUTABLE: Final = 0o100

Parts: TypeAlias = tuple[str, ...]


class BadArchive(UsageError):
    """The archive is damaged, too large, or holds what none of ours may hold."""


class Kind(StrEnum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "symbolic link"
    HARD_LINK = "hard link"
    OTHER = "device, pipe or other special file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member as its header tells; ``target`` is where a link leads."""

    name: str
    kind: Kind
    size: int = 0
    mode: int = 0o644
    target: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Something to be made; ``target`` is text for a symbolic link, ``source`` for a hard one."""

    parts: Parts
    kind: Kind
    size: int = 0
    mode: int = 0o644
    target: str = ""
    source: Parts = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveBudget:
    """What an archive may unpack to; beyond it, it is refused."""

    entries: int = 100_000
    unpacked_bytes: int = 4 << 30
    # Unpacked bytes for each packed one, beyond ``RATIO_FREE_BYTES``.
    ratio: int = 200

    def most_bytes(self, packed_bytes: int) -> int:
        """What an archive of that many bytes may unpack to."""
        return min(self.unpacked_bytes, self.ratio * packed_bytes + RATIO_FREE_BYTES)


class Contents:
    """What was admitted of one archive so far; ``strip`` leading parts are cut from each path."""

    def __init__(self, budget: ArchiveBudget, packed_bytes: int, strip: int = 0) -> None:
        self._entries_left = budget.entries
        self._bytes_left = budget.most_bytes(packed_bytes)
        self._strip = strip
        self._known: dict[Parts, Placing] = {(): Placing(parts=(), kind=Kind.FOLDER)}
        # By what a file system that ignores case, or writes accents otherwise, tells apart.
        self._spelled: dict[Parts, Parts] = {}

    def admit(self, member: Member) -> Placing | None:
        """What is to be made of ``member``; None for a folder that is cut or there already.

        Raises ``BadArchive``.
        """
        self._spend(member)
        parts = self._cut(member)
        if not parts:
            return None
        self._claim(parts)
        known = self._known.get(parts)
        if known is not None:
            if known.kind is member.kind is Kind.FOLDER:
                return None
            raise BadArchive(f"{_shown(member.name)} is there twice")
        placing = self._placing(member, parts)
        self._known[parts] = placing
        return placing

    def links(self) -> tuple[Placing, ...]:
        """The symbolic links, each followed to an end inside; raises ``BadArchive``.

        Only after the last member: a link may lead to what comes after it.
        """
        links = tuple(each for each in self._known.values() if each.kind is Kind.LINK)
        for link in links:
            self._follow(link)
        return links

    def _spend(self, member: Member) -> None:
        self._entries_left -= 1
        self._bytes_left -= max(0, member.size)
        if self._entries_left < 0:
            raise BadArchive("it has more entries than releases.entries allows")
        if self._bytes_left < 0:
            raise BadArchive("it unpacks to more than releases.unpacked_bytes or ratio allow")

    def _cut(self, member: Member) -> Parts:
        if member.kind is Kind.OTHER or member.size < 0:
            raise BadArchive(f"{_shown(member.name)} is neither a file, a folder nor a link")
        if member.kind is Kind.FILE and member.mode & _SET_ID:
            raise BadArchive(f"{_shown(member.name)} would run as somebody else (setuid)")
        parts = path_of(member.name)
        kept = parts[self._strip :]
        if not kept and member.kind is not Kind.FOLDER:
            raise BadArchive(f"{_shown(member.name)} would be cut away (strip {self._strip})")
        return kept

    def _claim(self, parts: Parts) -> None:
        """Take the path and the folders above it, each in one spelling only."""
        for depth in range(1, len(parts) + 1):
            path = parts[:depth]
            first = self._spelled.setdefault(tuple(map(_folded, path)), path)
            if first != path:
                here, there = "/".join(path), "/".join(first)
                raise BadArchive(f"{_shown(here)} and {_shown(there)} are one on some machines")
            if depth < len(parts):
                above = self._known.setdefault(path, Placing(parts=path, kind=Kind.FOLDER))
                if above.kind is not Kind.FOLDER:
                    raise BadArchive(f"{_shown('/'.join(parts))} lies below what is no folder")

    def _placing(self, member: Member, parts: Parts) -> Placing:
        mode = 0o755 if member.kind is Kind.FOLDER or member.mode & _EXECUTABLE else 0o644
        if member.kind is Kind.HARD_LINK:
            source = path_of(member.target)[self._strip :]
            known = self._known.get(source)
            if known is None or known.kind not in (Kind.FILE, Kind.HARD_LINK):
                raise BadArchive(f"{_shown(member.name)} is a hard link to no file before it")
            return Placing(parts=parts, kind=member.kind, source=source)
        if member.kind is Kind.LINK:
            _check_text(member.target)
            return Placing(parts=parts, kind=member.kind, target=member.target)
        size = member.size if member.kind is Kind.FILE else 0
        return Placing(parts=parts, kind=member.kind, size=size, mode=mode)

    def _follow(self, link: Placing) -> None:
        """Walk to where it leads as a kernel would, but over what the archive holds only."""
        here: list[str] = []
        left = deque(link.parts)
        hops = 0
        while left:
            part = left.popleft()
            if part == "..":
                if not here:
                    raise _leads_out(link)
                here.pop()
                continue
            here.append(part)
            known = self._known.get(tuple(here))
            if known is None or (left and known.kind not in (Kind.FOLDER, Kind.LINK)):
                raise _leads_out(link)
            if known.kind is Kind.LINK:
                hops += 1
                here.pop()
                left.extendleft(reversed(_steps(link, known.target, hops)))


def path_of(name: str) -> Parts:
    """The parts of a path in an archive; raises ``BadArchive`` for one that none of ours has."""
    _check_text(name)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts:
        raise BadArchive(f"{_shown(name)} leads out of the archive")
    if len(parts) > DEEPEST:
        raise BadArchive(f"{_shown(name)} lies deeper than {DEEPEST} folders")
    if any(len(part.encode()) > LONGEST_NAME_BYTES for part in parts):
        raise BadArchive(f"{_shown(name)} has a name longer than {LONGEST_NAME_BYTES} bytes")
    return parts


def _steps(link: Placing, target: str, hops: int) -> Parts:
    if hops > MOST_HOPS or target.startswith("/"):
        raise _leads_out(link)
    return tuple(part for part in target.split("/") if part not in ("", "."))


def _leads_out(link: Placing) -> BadArchive:
    shown = _shown("/".join(link.parts))
    return BadArchive(f"{shown} is a link that leads nowhere inside of the archive")


def _check_text(text: str) -> None:
    """Undecodable bytes came in as surrogates; none of them is printable."""
    is_short = 0 < len(text) <= LONGEST_PATH_BYTES
    if not is_short or not text.isprintable() or len(text.encode()) > LONGEST_PATH_BYTES:
        what = f"a path of 1 to {LONGEST_PATH_BYTES} bytes of printable UTF-8"
        raise BadArchive(f"{_shown(text)} is not {what}")


def _folded(part: str) -> str:
    """NFKC_Casefold, nearly: the widest notion of "the same name" among file systems."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", part).casefold())


def _shown(name: str) -> str:
    return ascii(name[:100])
