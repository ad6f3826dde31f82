"""Update bundles: one signed file that holds the bytes of a slot, read as a stream.

A bundle is, one after the other: the magic; the manifest (length in 4 bytes, then JSON); the
signature (length in 2 bytes, then Ed25519 over magic and manifest); the key id (32 bytes, sha256 of
the raw public key); then each chunk (length in 4 bytes, then one xz stream). Numbers are
big-endian. The manifest holds the sha256 of every chunk and of the whole slot, so the one signature
covers every byte that is written. Nothing here writes; nothing is believed before it is checked,
and nothing is unpacked further than the manifest allows.
"""

from __future__ import annotations

import hashlib
import lzma
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import msgspec

from appliance.keys import KEY_BYTES, SIGNATURE_BYTES
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.keys import Keyring

MAGIC: Final = b"MACULAUP1\n"
MANIFEST_BYTES_MAX: Final = 4 << 20
CHUNK_BYTES_MIN: Final = 1 << 20
CHUNK_BYTES_MAX: Final = 16 << 20
SLOT_BYTES_MAX: Final = 4 << 30
# A disk is written in whole sectors.
SECTOR_BYTES: Final = 512
# What xz may add to bytes that cannot be packed: headers, index and a little for each block.
_PACKED_EXTRA_MAX: Final = 64 << 10
# The largest dictionary of xz is 64 MiB; more than that, a small machine does not have to spare.
_UNPACK_MEMORY_MAX: Final = 96 << 20
_FETCH_AGAIN: Final = "fetch it again, or ask who made it"

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class BadBundle(UsageError):
    """The bundle is cut short, was changed, or breaks the rules of its format."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the bundle is not usable: {what}", _FETCH_AGAIN)


class Stream(Protocol):
    """Where bytes come from; a short answer before the end is allowed."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none means the end."""
        ...


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle says of itself; ``created`` is ISO 8601 in UTC."""

    format: Literal[1]
    name: _Text
    version: _Text
    arch: _Text
    commit: _Text
    created: _Text
    slot_bytes: Annotated[int, msgspec.Meta(gt=0, le=SLOT_BYTES_MAX, multiple_of=SECTOR_BYTES)]
    chunk_bytes: Annotated[
        int, msgspec.Meta(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX, multiple_of=SECTOR_BYTES)
    ]
    slot_sha256: _Digest
    chunks: tuple[_Digest, ...]

    def size_of(self, index: int) -> int:
        """Bytes of that chunk, unpacked; the last one may be shorter."""
        return min(self.chunk_bytes, self.slot_bytes - index * self.chunk_bytes)

    def created_at(self) -> datetime:
        """When it was made, in UTC; raises ``ValueError`` if it does not say so."""
        moment = datetime.fromisoformat(self.created)
        if moment.utcoffset() is None:
            raise ValueError(self.created)
        return moment


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedChunk:
    """One chunk as it came; ``offset`` and ``size`` in bytes of the slot."""

    offset: int
    size: int
    sha256: str
    packed: bytes

    def unpack(self) -> bytes:
        """The bytes of the slot; raises ``BadBundle`` if they are not those of the manifest."""
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_UNPACK_MEMORY_MAX)
        where = f"the chunk at byte {self.offset}"
        try:
            # One byte more than is allowed, so that too much is noticed and no more is made.
            unpacked = decompressor.decompress(self.packed, self.size + 1)
        except lzma.LZMAError as error:
            raise BadBundle(f"{where} cannot be unpacked") from error
        if not decompressor.eof or decompressor.unused_data or len(unpacked) != self.size:
            raise BadBundle(f"{where} has not the size that it should have")
        if hashlib.sha256(unpacked).hexdigest() != self.sha256:
            raise BadBundle(f"{where} is not what the manifest says")
        return unpacked


@dataclass(frozen=True, slots=True)
class BundleReader:
    """A bundle whose manifest was signed by a trusted key; ``digest`` tells it from all others."""

    manifest: Manifest
    digest: str
    _stream: Stream

    def chunks(self) -> Iterator[PackedChunk]:
        """Every chunk in order, once; raises ``BadBundle`` when the file is not as it should be."""
        manifest = self.manifest
        for index, sha256 in enumerate(manifest.chunks):
            length = _number(self._stream, 4)
            if not 0 < length <= manifest.size_of(index) + _PACKED_EXTRA_MAX:
                raise BadBundle(f"chunk {index} is said to take {length} bytes")
            yield PackedChunk(
                offset=index * manifest.chunk_bytes,
                size=manifest.size_of(index),
                sha256=sha256,
                packed=_exactly(self._stream, length),
            )
        if self._stream.read(1):
            raise BadBundle("something follows its last chunk")


def open_bundle(stream: Stream, keyring: Keyring) -> BundleReader:
    """Read and check everything before the first chunk.

    Raises ``BadBundle``, or ``NotSigned`` if no trusted key signed it. The signature is checked
    before the manifest is understood, so a stranger's JSON is never parsed.
    """
    if _exactly(stream, len(MAGIC)) != MAGIC:
        raise BadBundle("it does not begin as an update bundle does")
    length = _number(stream, 4)
    if not 0 < length <= MANIFEST_BYTES_MAX:
        raise BadBundle(f"its manifest is said to take {length} bytes")
    signed = MAGIC + _exactly(stream, length)
    if _number(stream, 2) != SIGNATURE_BYTES:
        raise BadBundle("its signature has not the size of a signature")
    signature = _exactly(stream, SIGNATURE_BYTES)
    keyring.check(_exactly(stream, KEY_BYTES), signature, signed)
    manifest = read_manifest(signed[len(MAGIC) :])
    return BundleReader(manifest, hashlib.sha256(signed).hexdigest(), stream)


def read_manifest(text: bytes) -> Manifest:
    """The manifest, every bound checked; unknown keys are left out. Raises ``BadBundle``."""
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
        manifest.created_at()
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadBundle(f"its manifest is wrong: {error}") from error
    wanted = -(-manifest.slot_bytes // manifest.chunk_bytes)
    if len(manifest.chunks) != wanted:
        raise BadBundle(f"its manifest lists {len(manifest.chunks)} chunks instead of {wanted}")
    return manifest


def _number(stream: Stream, size: int) -> int:
    return int.from_bytes(_exactly(stream, size), "big")


def _exactly(stream: Stream, size: int) -> bytes:
    """That many bytes, taken as they come, so a false length costs no memory by itself."""
    pieces = bytearray()
    while len(pieces) < size:
        piece = stream.read(size - len(pieces))
        if not piece:
            raise BadBundle("it ends too early")
        pieces += piece
    return bytes(pieces)
