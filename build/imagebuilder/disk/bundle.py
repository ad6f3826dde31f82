"""Update bundles: one signed file that carries a slot, chunk by chunk; written, and read back.

The format is in docs/image-format.md. The appliance has a reader of its own, which writes slots;
the one here only checks. Chunks are compressed apart from each other, so they can be made on all
processors, checked one by one while they arrive, and skipped.
"""

from __future__ import annotations

import hashlib
import lzma
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from imagebuilder.disk.drafts import draft
from imagebuilder.disk.manifest import (
    CHUNK_BYTES,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_MIN,
    MANIFEST_BYTES_MAX,
    SLOT_BYTES_MAX,
    BundleRefused,
    Manifest,
    SlotDigests,
    decode,
    describe,
)
from imagebuilder.disk.partitions import KIB, MIB, SECTOR_BYTES
from imagebuilder.disk.progress import silent
from imagebuilder.disk.signature import KEY_BYTES, SIGNATURE_BYTES, PublicKey, SignatureRefused
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from imagebuilder.disk.manifest import Release
    from imagebuilder.disk.progress import Progress
    from imagebuilder.disk.signature import SigningKey

MAGIC: Final = b"MACULAUP1\n"
# What xz adds to bytes that it cannot make smaller is far below this.
PACKED_EXTRA_MAX: Final = 64 * KIB
# Preset 6 wants 9 MiB to unpack; no bundle may ask a small machine for much more.
_UNPACK_MEMORY_MAX: Final = 96 * MIB
_PRESET: Final = 6
# A compressor takes about 94 MiB at preset 6.
_WORKERS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle whose manifest a trusted key signed, and its stream, at the first chunk."""

    manifest: Manifest
    key: PublicKey
    _stream: BinaryIO

    def chunks(self) -> Iterator[bytes]:
        """Each chunk of the slot in order, checked, once; raises ``BundleRefused``."""
        for index, digest in enumerate(self.manifest.chunks):
            yield unpack(_read_packed(self._stream, self.manifest, index), self.manifest, digest)
        if self._stream.read(1):
            raise BundleRefused("something follows the last chunk")


def write_bundle(
    slot: Path,
    target: Path,
    release: Release,
    key: SigningKey,
    *,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress = silent,
) -> Manifest:
    """Write the slot image ``slot`` as a bundle to ``target``, replacing it when all is written.

    ``progress`` counts bytes of the slot. Raises ``UsageError`` for a slot that no bundle holds
    or that changes meanwhile, ``BundleRefused`` for a release that cannot be described.
    """
    digests = measure(slot, chunk_bytes)
    text = describe(release, digests)
    with draft(target) as path, path.open("wb") as output, slot.open("rb") as file:
        output.write(head(text, key.sign(MAGIC + text), key.public))
        _write_chunks(file, output, digests, progress)
    return decode(text)


def measure(slot: Path, chunk_bytes: int) -> SlotDigests:
    """Size and digests of a slot image; raises ``UsageError`` for sizes out of bounds."""
    if not CHUNK_BYTES_MIN <= chunk_bytes <= CHUNK_BYTES_MAX or chunk_bytes % SECTOR_BYTES:
        raise UsageError(f"a chunk cannot have {chunk_bytes} bytes", "choose 1 to 16 MiB")
    size = slot.stat().st_size
    if not 0 < size <= SLOT_BYTES_MAX or size % SECTOR_BYTES:
        raise UsageError(
            f"{slot} has {size} bytes", f"a slot has whole sectors, at most {SLOT_BYTES_MAX} bytes"
        )
    whole = hashlib.sha256()
    chunks: list[str] = []
    with slot.open("rb") as file:
        for chunk in _chunks_of(file, chunk_bytes):
            whole.update(chunk)
            chunks.append(hashlib.sha256(chunk).hexdigest())
    return SlotDigests(
        slot_bytes=size,
        chunk_bytes=chunk_bytes,
        slot_sha256=whole.hexdigest(),
        chunks=tuple(chunks),
    )


def head(manifest: bytes, signature: bytes, key: PublicKey) -> bytes:
    """All that comes before the first chunk."""
    lengths = (len(manifest).to_bytes(4), len(signature).to_bytes(2))
    return b"".join((MAGIC, lengths[0], manifest, lengths[1], signature, key.digest))


def pack(chunk: bytes) -> bytes:
    """A chunk as one xz stream; the same bytes give the same stream with the same liblzma."""
    return lzma.compress(chunk, lzma.FORMAT_XZ, lzma.CHECK_SHA256, _PRESET)


def unpack(packed: bytes, manifest: Manifest, digest: str) -> bytes:
    """The chunk with that digest; raises ``BundleRefused`` if ``packed`` is anything else.

    Never unpacks more than a chunk may hold, whatever the stream says of itself.
    """
    unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_UNPACK_MEMORY_MAX)
    try:
        chunk = unpacker.decompress(packed, manifest.chunk_bytes + 1)
    except lzma.LZMAError as error:
        raise BundleRefused(f"a chunk cannot be unpacked: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise BundleRefused("a chunk is not exactly one xz stream of its size")
    if hashlib.sha256(chunk).hexdigest() != digest:
        raise BundleRefused("a chunk is not the one that the manifest names")
    return chunk


def open_bundle(stream: BinaryIO, trusted: Iterable[PublicKey]) -> OpenBundle:
    """Read up to the first chunk; the signature is checked before the manifest is understood.

    Raises ``BundleRefused``, or ``SignatureRefused`` if no trusted key signed the manifest.
    """
    if _exactly(stream, len(MAGIC)) != MAGIC:
        raise BundleRefused("it does not begin as a bundle does")
    size = _number(stream, 4)
    if not 0 < size <= MANIFEST_BYTES_MAX:
        raise BundleRefused(f"a manifest of {size} bytes, at most {MANIFEST_BYTES_MAX}")
    text = _exactly(stream, size)
    if _number(stream, 2) != SIGNATURE_BYTES:
        raise BundleRefused("the signature has not the size of a signature")
    signature = _exactly(stream, SIGNATURE_BYTES)
    digest = _exactly(stream, KEY_BYTES)
    key = next((key for key in trusted if key.digest == digest), None)
    if key is None:
        raise SignatureRefused(f"signed by key {digest.hex()[:16]}, not trusted", "check its maker")
    key.check(signature, MAGIC + text)
    return OpenBundle(decode(text), key, stream)


def verify_bundle(path: Path, trusted: Iterable[PublicKey]) -> Manifest:
    """Check a whole bundle, to its last byte; raises as ``open_bundle`` and ``chunks`` do."""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        bundle = open_bundle(file, trusted)
        for chunk in bundle.chunks():
            whole.update(chunk)
    if whole.hexdigest() != bundle.manifest.slot_sha256:
        raise BundleRefused("the slot is not the one that the manifest names")
    return bundle.manifest


def _write_chunks(
    file: BinaryIO, output: BinaryIO, digests: SlotDigests, progress: Progress
) -> None:
    done = 0
    progress(0, digests.slot_bytes)
    for index, (digest, size, packed) in enumerate(_packed_chunks(file, digests.chunk_bytes)):
        _check_unchanged(digest, digests.chunks[index : index + 1])
        output.write(len(packed).to_bytes(4))
        output.write(packed)
        done += size
        progress(done, digests.slot_bytes)
    if done != digests.slot_bytes:
        raise _changed()


def _packed_chunks(file: BinaryIO, chunk_bytes: int) -> Iterator[tuple[str, int, bytes]]:
    """Digest, size and xz stream of each chunk, in order; a few are in work at once.

    Threads: liblzma lets go of the interpreter while it works. At most twice as many chunks as
    threads are in memory.
    """
    workers = min(os.cpu_count() or 1, _WORKERS_MAX)
    waiting: deque[tuple[str, int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for chunk in _chunks_of(file, chunk_bytes):
            digest = hashlib.sha256(chunk).hexdigest()
            waiting.append((digest, len(chunk), pool.submit(pack, chunk)))
            if len(waiting) >= 2 * workers:
                digest, size, packed = waiting.popleft()
                yield digest, size, packed.result()
        for digest, size, packed in waiting:
            yield digest, size, packed.result()


def _check_unchanged(digest: str, expected: Sequence[str]) -> None:
    if [digest] != list(expected):
        raise _changed()


def _changed() -> UsageError:
    return UsageError("the slot changed while it was read", "build again, with one build only")


def _chunks_of(file: BinaryIO, chunk_bytes: int) -> Iterator[bytes]:
    while chunk := file.read(chunk_bytes):
        yield chunk


def _read_packed(stream: BinaryIO, manifest: Manifest, index: int) -> bytes:
    size = _number(stream, 4)
    if not 0 < size <= manifest.size_of(index) + PACKED_EXTRA_MAX:
        raise BundleRefused(f"chunk {index} would take {size} bytes")
    return _exactly(stream, size)


def _number(stream: BinaryIO, size: int) -> int:
    return int.from_bytes(_exactly(stream, size))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    """That many bytes of the stream, however many it hands out at once."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = stream.read(size - len(pieces))
        if not piece:
            raise BundleRefused("it ends early")
        pieces += piece
    return bytes(pieces)
