"""Distribution sets read as entries: no root, and nothing is ever written where a member says.

Bytes of files go into the content store; owner, mode, flags and links into entries. Members that
no release has (absolute paths, ``..``, devices, sockets) are refused, and so is an archive that
would unpack to more than the bounds.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.packages.archive import BadArchive, chunks, open_archive
from maculaos.errors import UsageError

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Iterator
    from pathlib import Path

    from imagebuilder.packages.store import ContentStore

# A base set unpacks to about a gigabyte; a set with debug symbols to several.
SET_BYTES_MAX: Final = 16 << 30
FILE_BYTES_MAX: Final = 2 << 30
PATH_CHARACTERS_MAX: Final = 1023
_FLAGS_HEADER: Final = "SCHILY.fflags"


def read_set(archive: Path, store: ContentStore, bytes_max: int = SET_BYTES_MAX) -> list[Entry]:
    """The entries of a set, in the order of the archive; their bytes are put into ``store``.

    Raises ``BadArchive`` for an archive that is damaged, too large, or holds a hostile member.
    """
    entries: list[Entry] = []
    with open_archive(archive, bytes_max) as members:
        for member, content in members:
            try:
                entries.append(_entry(member, content, store))
            except _RefusedMember as refused:
                raise BadArchive(
                    f"{archive}: {member.name[:200]!r}: {refused}",
                    "no FreeBSD set has such a member",
                ) from None
    return entries


class _RefusedMember(Exception):
    """What is wrong with one member."""


def _entry(member: tarfile.TarInfo, content: IO[bytes], store: ContentStore) -> Entry:
    path = _plain(member.name)
    flags = _flags(member)
    mode = member.mode & 0o7777
    owner, group = member.uname or str(member.uid), member.gname or str(member.gid)
    if member.isdir():
        return Entry(path=path, kind=Kind.FOLDER, mode=mode, owner=owner, group=group, flags=flags)
    if not path:
        raise _RefusedMember("the root must be a folder")
    if member.issym():
        return Entry(
            path=path,
            kind=Kind.SYMLINK,
            mode=mode,
            owner=owner,
            group=group,
            flags=flags,
            target=_target(member.linkname),
        )
    if not member.isfile() and not member.islnk():
        raise _RefusedMember("neither a file, nor a folder, nor a link")
    linked = member.islnk()
    return Entry(
        path=path,
        kind=Kind.FILE,
        mode=mode,
        owner=owner,
        group=group,
        flags=flags,
        source=None if linked else _keep(member, content, store),
        same_as=_plain(member.linkname) if linked else "",
    )


def _keep(member: tarfile.TarInfo, content: IO[bytes], store: ContentStore) -> Path:
    try:
        return store.add(chunks(content), min(member.size, FILE_BYTES_MAX))[1]
    except UsageError as error:
        raise _RefusedMember(str(error)) from None


def _plain(name: str) -> str:
    """A member's name as a path of an entry; the root is empty."""
    if len(name) > PATH_CHARACTERS_MAX:
        raise _RefusedMember(f"a path of more than {PATH_CHARACTERS_MAX} characters")
    if name.startswith("/") or "\0" in name:
        raise _RefusedMember("not a relative path")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _RefusedMember("a path with ..")
    return "/".join(parts)


def _target(text: str) -> str:
    """The text of a symbolic link; where it points is the business of who follows it."""
    if not 0 < len(text) <= PATH_CHARACTERS_MAX or "\0" in text:
        raise _RefusedMember("a symbolic link without a usable text")
    return text


def _flags(member: tarfile.TarInfo) -> tuple[str, ...]:
    """File flags as bsdtar writes them: names apart by commas."""
    return tuple(_names(member.pax_headers.get(_FLAGS_HEADER, "")))


def _names(text: str) -> Iterator[str]:
    for name in text.split(","):
        if name:
            yield name
