"""Tar archives read as a stream: plain, gzip, xz or bzip2, as their first bytes say.

A reader that counts what comes out, and stops a bomb before it is unpacked. Headers have a bound of
their own, because their reader keeps them in memory. Nothing is written here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, Protocol

from reconciler.releases.members import BadArchive, Kind, Member
from reconciler.sources.unreachable import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

XZ_MEMORY_BYTES: Final = 128 << 20
# Of one member: long names and attributes in extended headers.
HEADER_BYTES: Final = 1 << 20
# What headers and padding take of a stream, for each member that is allowed.
_ROOM_FOR_MEMBER: Final = 4096
_CHUNK: Final = 128 * 1024

_MAGIC: Final = {
    "xz": b"\xfd7zXZ\x00",
    "gzip": b"\x1f\x8b",
    "bzip2": b"BZh",
}


class _Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Archive:
    """The members of an open archive, in order; each is read before the next is asked for."""

    def __init__(self, file: IO[bytes], most_bytes: int, entries: int) -> None:
        self._stream = _Counted(_decompressed(file), most_bytes + entries * _ROOM_FOR_MEMBER)
        # The first header is read at once.
        with _in_words(), self._stream.bounded(HEADER_BYTES):
            # Nothing of it is open: the file is the caller's.
            self._tar = tarfile.open(fileobj=self._stream, mode="r|", encoding="utf-8")  # noqa: SIM115

    def members(self) -> Iterator[tuple[tarfile.TarInfo, Member]]:
        """Each header; raises ``BadArchive`` when the archive is damaged or a bound is reached."""
        while (info := self._next()) is not None:
            yield info, member_of(info)
        # To the end, where the packing says whether all of it was right.
        with _in_words():
            while self._stream.read(_CHUNK):
                pass

    def content(self, info: tarfile.TarInfo) -> Iterator[bytes]:
        """The bytes of the member that came last, as many as it says; raises ``BadArchive``."""
        left = info.size
        with _in_words():
            source = self._tar.extractfile(info)
        while left and source is not None:
            with _in_words():
                chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise BadArchive("it is cut short")
            left -= len(chunk)
            yield chunk

    def _next(self) -> tarfile.TarInfo | None:
        with _in_words(), self._stream.bounded(HEADER_BYTES):
            info = self._tar.next()
            # The reader keeps every header for lookups that we never make.
            self._tar.members = []  # type: ignore[attr-defined]  # the stubs know no attribute
            return info


def member_of(info: tarfile.TarInfo) -> Member:
    """The header in our words."""
    kinds: tuple[tuple[Callable[[], bool], Kind], ...] = (
        # Sparse files say one size and hold another.
        (lambda: info.sparse is not None, Kind.OTHER),
        (info.isreg, Kind.FILE),
        (info.isdir, Kind.FOLDER),
        (info.issym, Kind.LINK),
        (info.islnk, Kind.HARD_LINK),
    )
    kind = next((kind for is_kind, kind in kinds if is_kind()), Kind.OTHER)
    is_file = kind in (Kind.FILE, Kind.OTHER)
    size = info.size if is_file or info.size < 0 else 0
    return Member(name=info.name, kind=kind, size=size, mode=info.mode, target=info.linkname)


class _Counted(io.RawIOBase):
    """A stream that ends in an error when more comes out of it than may."""

    def __init__(self, source: _Source, most_bytes: int) -> None:
        super().__init__()
        self._source = source
        self._left = most_bytes

    def read(self, size: int = -1, /) -> bytes:
        content = self._source.read(max(0, size))
        self._left -= len(content)
        if self._left < 0:
            raise BadArchive("it unpacks to more than it may")
        return content

    @contextmanager
    def bounded(self, most_bytes: int) -> Iterator[None]:
        """Let at most that much be read meanwhile."""
        kept_back = max(0, self._left - most_bytes)
        self._left -= kept_back
        try:
            yield
        finally:
            self._left += kept_back


class _Xz:
    """An xz stream; unlike ``lzma.LZMAFile`` it bounds the memory that a header may ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES)

    def read(self, size: int, /) -> bytes:
        while not self._decoder.eof:
            given = self._file.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not given:
                raise EOFError("it is cut short")
            if content := self._decoder.decompress(given, size):
                return content
        return b""


def _decompressed(file: IO[bytes]) -> _Source:
    head = file.read(6)
    file.seek(0)
    packing = next((name for name, magic in _MAGIC.items() if head.startswith(magic)), "")
    if packing == "gzip":
        return gzip.GzipFile(fileobj=file, mode="rb")
    if packing == "bzip2":
        return bz2.BZ2File(file)
    if packing == "xz":
        return _Xz(file)
    return file


@contextmanager
def _in_words() -> Iterator[None]:
    """What the readers of archives raise on damage, as ``BadArchive``."""
    try:
        yield
    except (
        tarfile.TarError,
        lzma.LZMAError,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
        IndexError,
    ) as error:
        raise BadArchive(f"it is damaged: {one_line(str(error))}") from error
