"""One ``.pkg`` file: its members checked against its manifest, its files kept, its entries told.

A package is a compressed tar: ``+COMPACT_MANIFEST`` and ``+MANIFEST`` first, then the files under
absolute names. Owner and mode are those of the tar headers, as pkg itself extracts them; the
manifest vouches for the bytes. Its scripts are never run, only reported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.packages.archive import chunks, open_archive, read_member
from imagebuilder.packages.manifest import (
    MANIFEST_BYTES_MAX,
    Attributes,
    BadPackage,
    Manifest,
    is_root,
    parse_manifest,
    relative_path,
)
from imagebuilder.packages.store import ContentStore

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

    from imagebuilder.packages.archive import Member

# An unpacked package; the largest that an appliance could want is a few hundred megabytes.
PACKAGE_BYTES_MAX: Final = 2 * 1024 * 1024 * 1024
LINK_CHARACTERS_MAX: Final = 1024
_MODE_BITS: Final = 0o7777
# The tar header that carries FreeBSD's file flags.
_FLAGS: Final = "SCHILY.fflags"


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package that was read and found whole."""

    manifest: Manifest
    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        """Name and version, as people write them."""
        return f"{self.manifest.name}-{self.manifest.version}"


def read_package(path: Path, store: ContentStore, name: str = "") -> Unpacked:
    """The package at ``path``, its files put into ``store``.

    ``name`` is what the catalogue calls it. Raises ``BadPackage`` (or ``BadArchive``) for damage, a
    member that the manifest does not list or that has other bytes, and for what no package may be.
    """
    with open_archive(path, PACKAGE_BYTES_MAX) as members:
        manifest = _manifest(members, path)
        if name and manifest.name != name:
            raise BadPackage(f"{path}: it is {manifest.name}, the catalogue says {name}")
        reading = _Reading(manifest, store)
        for member, content in members:
            reading.take(member, content)
    return Unpacked(manifest, reading.entries())


def _manifest(members: Iterator[Member], path: Path) -> Manifest:
    """What the first members say, which come before every file."""
    for member, content in members:
        if member.name == "+MANIFEST":
            return parse_manifest(read_member(content, MANIFEST_BYTES_MAX, str(path)), str(path))
        if not member.name.startswith("+"):
            break
    raise BadPackage(f"{path}: no +MANIFEST before its files", "is it a package of FreeBSD?")


@dataclass(slots=True)
class _Reading:
    """The entries of one package, made member by member."""

    manifest: Manifest
    store: ContentStore
    _found: dict[str, Entry] = field(default_factory=dict)

    def take(self, member: tarfile.TarInfo, content: IO[bytes]) -> None:
        """One member after the manifest."""
        if member.name.startswith("+") or (member.isdir() and is_root(member.name)):
            return
        path = relative_path(member.name, self._label)
        if path in self._found:
            raise BadPackage(f"{self._label}: {path} comes twice")
        self._found[path] = self._entry(member, path, content)

    def entries(self) -> tuple[Entry, ...]:
        """All entries by path; raises ``BadPackage`` if a file of the manifest is missing."""
        missing = sorted(self.manifest.files.keys() - self._found.keys())
        if missing:
            raise BadPackage(
                f"{self._label}: {missing[0]} is listed and not there ({len(missing)} such)",
                "fetch it again",
            )
        for path in sorted(self.manifest.folders.keys() - self._found.keys()):
            said = self.manifest.folders[path]
            self._found[path] = Entry(
                path=path,
                kind=Kind.FOLDER,
                mode=0o755,
                owner=said.owner or "root",
                group=said.group or "wheel",
            )
        return tuple(self._found[path] for path in sorted(self._found))

    @property
    def _label(self) -> str:
        return f"{self.manifest.name}-{self.manifest.version}"

    def _entry(self, member: tarfile.TarInfo, path: str, content: IO[bytes]) -> Entry:
        if member.isdir():
            return self._made(member, path, self.manifest.folders.get(path, Attributes()))
        said = self.manifest.files.get(path)
        if said is None:
            raise BadPackage(f"{self._label}: {path} is not in its manifest")
        if member.issym():
            return self._link(member, path, said)
        if member.islnk():
            return self._hard_link(member, path, said)
        if member.isreg():
            return self._file(member, path, said, content)
        raise BadPackage(f"{self._label}: {path} is neither file, folder nor link")

    def _file(
        self, member: tarfile.TarInfo, path: str, said: Attributes, content: IO[bytes]
    ) -> Entry:
        if not said.sha256:
            raise BadPackage(f"{self._label}: {path} has no checksum")
        sha256, source = self.store.add(chunks(content), PACKAGE_BYTES_MAX)
        if sha256 != said.sha256:
            raise BadPackage(f"{self._label}: {path} has other bytes than its manifest says")
        return self._made(member, path, said, kind=Kind.FILE, source=source)

    def _link(self, member: tarfile.TarInfo, path: str, said: Attributes) -> Entry:
        target = member.linkname
        if not target or len(target) > LINK_CHARACTERS_MAX or not target.isprintable():
            raise BadPackage(f"{self._label}: {path} is a link to {target[:100]!r}")
        if said.sha256 and said.sha256 not in _sums_of_link(target):
            raise BadPackage(f"{self._label}: {path} links elsewhere than its manifest says")
        return self._made(member, path, said, kind=Kind.SYMLINK, target=target)

    def _hard_link(self, member: tarfile.TarInfo, path: str, said: Attributes) -> Entry:
        same_as = relative_path(member.linkname, f"{self._label}: {path}")
        first = self._found.get(same_as)
        if first is None or first.kind is not Kind.FILE or first.is_hard_link:
            raise BadPackage(f"{self._label}: {path} is a hard link to no file before it")
        if said.sha256 and said.sha256 != self.manifest.files[same_as].sha256:
            raise BadPackage(f"{self._label}: {path} has other bytes than its manifest says")
        # One inode has one owner and one mode: those of the file itself.
        return Entry(
            path=path,
            kind=Kind.FILE,
            mode=first.mode,
            owner=first.owner,
            group=first.group,
            flags=first.flags,
            source=first.source,
            same_as=same_as,
        )

    def _made(
        self,
        member: tarfile.TarInfo,
        path: str,
        said: Attributes,
        *,
        kind: Kind = Kind.FOLDER,
        source: Path | None = None,
        target: str = "",
    ) -> Entry:
        flags = str(member.pax_headers.get(_FLAGS, ""))
        return Entry(
            path=path,
            kind=kind,
            mode=member.mode & _MODE_BITS,
            owner=self._account(member.uname or said.owner, member.uid, "root", path),
            group=self._account(member.gname or said.group, member.gid, "wheel", path),
            flags=tuple(sorted(filter(None, flags.split(",")))),
            source=source,
            target=target,
        )

    def _account(self, name: str, number: int, zero: str, path: str) -> str:
        """A name for the owner; a number alone is only known for 0."""
        if name:
            return name
        if number == 0:
            return zero
        raise BadPackage(f"{self._label}: {path} belongs to number {number}, without a name")


def _sums_of_link(target: str) -> set[str]:
    """What pkg may write as the checksum of a link.

    Of an absolute target it takes the text after the first slash, and with it the NUL behind.
    """
    texts = [target.encode()]
    if target.startswith("/"):
        texts.append(target[1:].encode() + b"\0")
    return {hashlib.sha256(text).hexdigest() for text in texts}
