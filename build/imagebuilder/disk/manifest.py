"""The manifest of an update bundle: what a slot is, and the digest of each of its chunks.

Pure. A manifest has one spelling only: JSON with sorted keys and no spaces. What is not spelled
so is refused, so two programs never read two things in the same bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from imagebuilder.disk.partitions import GIB, MIB, SECTOR_BYTES
from maculaos.errors import UsageError

MANIFEST_BYTES_MAX: Final = 4 * MIB
SLOT_BYTES_MAX: Final = 4 * GIB
CHUNK_BYTES_MIN: Final = MIB
CHUNK_BYTES_MAX: Final = 16 * MIB
CHUNK_BYTES: Final = 4 * MIB

_CREATED: Final = "%Y-%m-%dT%H:%M:%SZ"
_CREATED_TEXT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}\Z")]


class BundleRefused(UsageError):
    """A bundle is incomplete, was changed, or breaks the rules of its format."""

    def __init__(self, what: str) -> None:
        super().__init__(f"bundle refused: {what}", "fetch it again, or build it again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What a slot is: words of up to 64 plain characters each."""

    name: str
    version: str
    arch: Literal["amd64", "aarch64"]
    # The commit it was built from, in hexadecimal.
    commit: str
    # When that commit was made, in seconds since the epoch.
    committed_at: int

    @property
    def created(self) -> str:
        """When the commit was made, as ISO 8601 in UTC."""
        return datetime.fromtimestamp(self.committed_at, UTC).strftime(_CREATED)


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle says of itself; its fields are the keys of the format."""

    format: Literal[1] = 1
    name: Name
    version: Name
    arch: Literal["amd64", "aarch64"]
    commit: Annotated[str, Meta(pattern=r"\A([0-9a-f]{40}|[0-9a-f]{64})\Z")]
    created: str
    # A disk is written in whole sectors.
    slot_bytes: Annotated[int, Meta(gt=0, le=SLOT_BYTES_MAX, multiple_of=SECTOR_BYTES)]
    chunk_bytes: Annotated[
        int, Meta(ge=CHUNK_BYTES_MIN, le=CHUNK_BYTES_MAX, multiple_of=SECTOR_BYTES)
    ]
    slot_sha256: Digest
    # Of each chunk as it lies in the slot; the last one may be shorter.
    chunks: tuple[Digest, ...]

    def size_of(self, index: int) -> int:
        """Bytes of the chunk ``index`` in the slot."""
        return min(self.chunk_bytes, self.slot_bytes - index * self.chunk_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotDigests:
    """A slot image, measured."""

    slot_bytes: int
    chunk_bytes: int
    slot_sha256: str
    chunks: tuple[str, ...]


def describe(release: Release, digests: SlotDigests) -> bytes:
    """The manifest of this slot, as it is signed; raises ``BundleRefused`` for what cannot be."""
    manifest = Manifest(
        name=release.name,
        version=release.version,
        arch=release.arch,
        commit=release.commit,
        created=release.created,
        slot_bytes=digests.slot_bytes,
        chunk_bytes=digests.chunk_bytes,
        slot_sha256=digests.slot_sha256,
        chunks=digests.chunks,
    )
    encoded = encode(manifest)
    # Making a value checks nothing; reading it back checks everything.
    decode(encoded)
    return encoded


def encode(manifest: Manifest) -> bytes:
    """The one spelling of a manifest."""
    return msgspec.json.encode(manifest, order="sorted")


def decode(text: bytes) -> Manifest:
    """Read a manifest; raises ``BundleRefused`` for anything that ``encode`` would not write."""
    if not 0 < len(text) <= MANIFEST_BYTES_MAX:
        raise BundleRefused(f"the manifest has {len(text)} bytes, at most {MANIFEST_BYTES_MAX}")
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BundleRefused(f"the manifest is wrong: {error}") from error
    if not _is_moment(manifest.created):
        raise BundleRefused(f"the manifest was created at {manifest.created[:40]!r}, no UTC time")
    wanted = -(-manifest.slot_bytes // manifest.chunk_bytes)
    if len(manifest.chunks) != wanted:
        raise BundleRefused(f"the manifest lists {len(manifest.chunks)} chunks, not {wanted}")
    if encode(manifest) != text:
        raise BundleRefused("the manifest is not spelled with sorted keys, once each, no spaces")
    return manifest


def _is_moment(text: str) -> bool:
    if not _CREATED_TEXT.fullmatch(text):
        return False
    try:
        datetime.strptime(text, _CREATED).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
