"""Compressed tar archives, read as a stream and with a bound on everything they can become.

``.pkg`` files and catalogues are such archives; the first bytes say how they are compressed, as a
name may not. Nothing is ever extracted to the place that a member names.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final, TypeAlias

import zstandard

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMBERS_MAX: Final = 200_000
# Decoders need as much memory as the window is large; pkg's own archives stay below this.
ZSTD_WINDOW_BYTES_MAX: Final = 128 * 1024 * 1024
XZ_MEMORY_BYTES_MAX: Final = 128 * 1024 * 1024
_CHUNK: Final = 256 * 1024


Member: TypeAlias = tuple[tarfile.TarInfo, IO[bytes]]
_Stream: TypeAlias = "IO[bytes] | gzip.GzipFile | bz2.BZ2File | _Xz"


class BadArchive(UsageError):
    """The archive is broken, or larger than it may be."""


@contextmanager
def open_archive(path: Path, bytes_max: int) -> Iterator[Iterator[Member]]:
    """The members of ``path`` in order, each with its content, which must be read at once.

    Members without content come with an empty stream. Raises ``BadArchive`` on damage, and when
    the archive unpacks to more than ``bytes_max`` bytes or to more than ``MEMBERS_MAX`` members.
    """
    with path.open("rb") as file, _decompressed(file) as plain:
        bounded = _Bounded(plain, bytes_max, path)
        try:
            with tarfile.open(fileobj=bounded, mode="r|") as tar:
                yield _members(tar, path)
        except (
            tarfile.TarError,
            lzma.LZMAError,
            zlib.error,
            zstandard.ZstdError,
            EOFError,
            OSError,
        ) as error:
            what = f"{path}: cannot be read as an archive: {error}"
            raise BadArchive(what, "fetch it again") from error


def read_member(stream: IO[bytes], bytes_max: int, where: str) -> bytes:
    """All of one member; raises ``BadArchive`` beyond ``bytes_max`` bytes."""
    content = stream.read(bytes_max + 1)
    if len(content) > bytes_max:
        raise BadArchive(f"{where}: larger than {bytes_max} bytes")
    return content


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """The content of a member, piece by piece."""
    while piece := stream.read(_CHUNK):
        yield piece


def _members(tar: tarfile.TarFile, path: Path) -> Iterator[Member]:
    for count, member in enumerate(tar, 1):
        if count > MEMBERS_MAX:
            raise BadArchive(f"{path}: more than {MEMBERS_MAX} members")
        content = tar.extractfile(member) if member.isreg() else None
        yield member, content or io.BytesIO()


def _decompressed(file: IO[bytes]) -> _Stream:
    """``file`` without its compression, which its first bytes tell."""
    head = file.read(6)
    file.seek(0)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        return decoder.stream_reader(file, read_across_frames=True)
    if head.startswith(b"\xfd7zXZ\x00"):
        return _Xz(file)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if head.startswith(b"BZh"):
        return bz2.BZ2File(file)
    return file


class _Xz(io.RawIOBase):
    """An xz stream; unlike ``lzma.LZMAFile`` it bounds the memory that a header may ask for."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_BYTES_MAX)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Some bytes, at most ``size``; nothing at the end. Raises ``EOFError`` if it is cut."""
        while not self._decoder.eof:
            piece = self._file.read(_CHUNK) if self._decoder.needs_input else b""
            if self._decoder.needs_input and not piece:
                raise EOFError("the archive is cut short")
            if content := self._decoder.decompress(piece, size):
                return content
        return b""


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than it may."""

    def __init__(self, stream: _Stream, bytes_max: int, path: Path) -> None:
        super().__init__()
        self._stream = stream
        self._left = bytes_max
        self._max = bytes_max
        self._path = path

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; raises ``BadArchive`` once the bound is passed."""
        wanted = self._left + 1 if size < 0 else min(size, self._left + 1)
        content = self._stream.read(wanted)
        self._left -= len(content)
        if self._left < 0:
            raise BadArchive(f"{self._path}: unpacks to more than {self._max} bytes")
        return content
