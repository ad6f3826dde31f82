"""Update bundles: what is written is read, and whatever else arrives is refused."""

from __future__ import annotations

import hashlib
import io
import lzma
import random
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.disk import bundle
from imagebuilder.disk.bundle import MAGIC, open_bundle, verify_bundle, write_bundle
from imagebuilder.disk.manifest import BundleRefused, Release, decode
from imagebuilder.disk.partitions import KIB, MIB
from imagebuilder.disk.signature import PublicKey, SignatureRefused, SigningKey
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
OTHER = SigningKey(Ed25519PrivateKey.from_private_bytes(b"o" * 32))
RELEASE = Release(
    name="maculaos", version="0.1.0", arch="amd64", commit="c" * 40, committed_at=1_700_000_000
)
# Two and a half chunks: one with noise, one of zeros, and a short one.
SLOT = random.Random(1).randbytes(64 * KIB) * 16 + bytes(MIB) + b"end." * (128 * KIB)


@dataclass(frozen=True)
class Sample:
    """A bundle, and where its parts begin."""

    content: bytes
    manifest: bytes
    chunks_at: int


@cache
def _sample() -> Sample:
    with TemporaryDirectory() as folder:
        content = _write(Path(folder), SLOT).read_bytes()
    size = int.from_bytes(content[10:14])
    return Sample(content, content[14 : 14 + size], 14 + size + 2 + 64 + 32)


def _write(folder: Path, slot: bytes, chunk_bytes: int = MIB) -> Path:
    (folder / "slot.img").write_bytes(slot)
    target = folder / "update.bundle"
    write_bundle(folder / "slot.img", target, RELEASE, KEY, chunk_bytes=chunk_bytes)
    return target


def _read(content: bytes, trusted: Iterable[PublicKey] = (KEY.public,)) -> bytes:
    return b"".join(open_bundle(io.BytesIO(content), trusted).chunks())


def test_bundle_is_framed_as_the_format_says() -> None:
    sample = _sample()
    manifest = decode(sample.manifest)
    rest = sample.content[14 + len(sample.manifest) :]
    assert sample.content.startswith(b"MACULAUP1\n")
    assert rest[:2] == b"\x00\x40"
    KEY.public.check(rest[2:66], b"MACULAUP1\n" + sample.manifest)
    assert rest[66:98] == hashlib.sha256(KEY.public.raw).digest()
    slot, rest = b"", rest[98:]
    while rest:
        size = int.from_bytes(rest[:4])
        slot += lzma.decompress(rest[4 : 4 + size], lzma.FORMAT_XZ)
        rest = rest[4 + size :]
    assert slot == SLOT
    assert manifest.slot_sha256 == hashlib.sha256(SLOT).hexdigest()
    assert [len(SLOT), len(manifest.chunks)] == [manifest.slot_bytes, 3]


@settings(max_examples=12, deadline=None)
@given(
    st.integers(1, 5 * 2048).map(lambda sectors: sectors * 512),
    st.sampled_from([MIB, MIB + 512, 2 * MIB, 4 * MIB]),
    st.integers(0, 255),
)
def test_what_is_written_is_read(size: int, chunk_bytes: int, filler: int) -> None:
    slot = bytes([filler]) * (size - 8) + size.to_bytes(8)
    with TemporaryDirectory() as folder:
        target = _write(Path(folder), slot, chunk_bytes)
        assert verify_bundle(target, [KEY.public]).slot_bytes == size
        assert _read(target.read_bytes()) == slot


def test_two_bundles_of_one_slot_are_equal(tmp_path: Path) -> None:
    assert _write(tmp_path, SLOT).read_bytes() == _sample().content


@settings(max_examples=150)
@given(st.data())
def test_any_flipped_byte_is_refused(data: st.DataObject) -> None:
    sample = _sample()
    # Half of them before the chunks, where one byte means most.
    places = st.integers(0, sample.chunks_at + 16) | st.integers(0, len(sample.content) - 1)
    at, mask = data.draw(places), data.draw(st.integers(1, 255))
    changed = bytearray(sample.content)
    changed[at] ^= mask
    with pytest.raises((BundleRefused, SignatureRefused)):
        _read(bytes(changed))


@settings(max_examples=100)
@given(st.data())
def test_any_bundle_that_ends_early_is_refused(data: st.DataObject) -> None:
    sample = _sample()
    places = st.integers(0, sample.chunks_at + 16) | st.integers(0, len(sample.content) - 1)
    with pytest.raises(BundleRefused, match="it ends early"):
        _read(sample.content[: data.draw(places)])


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=50))
def test_whatever_follows_the_last_chunk_is_refused(more: bytes) -> None:
    with pytest.raises(BundleRefused, match="follows the last chunk"):
        _read(_sample().content + more)


@given(st.binary(max_size=200), st.booleans())
def test_noise_is_refused_and_nothing_else_happens(noise: bytes, begins_well: bool) -> None:
    with pytest.raises((BundleRefused, SignatureRefused)):
        _read(MAGIC + noise if begins_well else noise)


def test_good_chunks_come_before_the_first_bad_one() -> None:
    sample = _sample()
    chunks = open_bundle(io.BytesIO(sample.content[:-1]), [KEY.public]).chunks()
    assert next(chunks) == SLOT[:MIB]
    assert next(chunks) == SLOT[MIB : 2 * MIB]
    with pytest.raises(BundleRefused):
        next(chunks)


@cache
def _packed() -> tuple[bytes, ...]:
    return tuple(bundle.pack(SLOT[at : at + MIB]) for at in range(0, len(SLOT), MIB))


def _framed(chunks: Iterable[bytes]) -> bytes:
    sample = _sample()
    head = sample.content[: sample.chunks_at]
    return head + b"".join(len(chunk).to_bytes(4) + chunk for chunk in chunks)


def _xz(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_XZ, preset=0)


@cache
def _hostile() -> dict[str, list[bytes]]:
    """Chunks of every kind that were not signed, each list by what is wrong with it."""
    first, second, third = _packed()
    return {
        "out of order": [second, first, third],
        "one twice": [first, first, third],
        "a stream behind": [first + _xz(b""), second, third],
        "padding behind": [first + bytes(4), second, third],
        "another format": [lzma.compress(SLOT[:MIB], lzma.FORMAT_ALONE), second, third],
        "too short": [first, _xz(bytes(MIB - 1)), third],
        "too long": [first, _xz(bytes(MIB + 1)), third],
        "a bomb": [first, _xz(bytes(64 * MIB)), third],
        "empty": [first, b"", third],
        "huge": [first, second.ljust(MIB + 65 * KIB, b"\0"), third],
    }


@pytest.mark.parametrize("wrong", _hostile())
def test_chunks_other_than_those_that_were_signed_are_refused(wrong: str) -> None:
    assert _read(_framed(_packed())) == SLOT
    with pytest.raises(BundleRefused):
        _read(_framed(_hostile()[wrong]))


def test_chunk_that_wants_much_memory_is_refused() -> None:
    hungry = bytearray(_packed()[0])
    # The block header after the 12 bytes of the stream's: its size, flags, filter, and there the
    # size of the dictionary, at its largest; then padding and a checksum.
    end = 12 + (hungry[12] + 1) * 4
    hungry[16] = 40
    hungry[end - 4 : end] = zlib.crc32(hungry[12 : end - 4]).to_bytes(4, "little")
    with pytest.raises(BundleRefused, match="Memory usage limit"):
        _read(_framed([bytes(hungry)]))


def _signed(manifest: bytes, key: SigningKey = KEY) -> bytes:
    head = bundle.head(manifest, key.sign(MAGIC + manifest), key.public)
    return head + _sample().content[_sample().chunks_at :]


def test_stranger_is_refused_before_the_manifest_is_read() -> None:
    assert _read(_signed(_sample().manifest)) == SLOT
    with pytest.raises(SignatureRefused, match="not trusted"):
        _read(_signed(b"{not json", OTHER))
    with pytest.raises(SignatureRefused, match="not trusted"):
        _read(_sample().content, [OTHER.public])
    with pytest.raises(SignatureRefused, match="not trusted"):
        _read(_sample().content, [])


def test_signature_is_no_excuse_for_a_bad_manifest() -> None:
    with pytest.raises(BundleRefused, match="spelled"):
        _read(_signed(_sample().manifest.replace(b",", b", ")))


def test_digest_of_the_whole_slot_is_checked_too(tmp_path: Path) -> None:
    # Every chunk is as it was signed; the signer was wrong about the whole.
    wrong = _sample().manifest.replace(hashlib.sha256(SLOT).hexdigest().encode(), b"0" * 64)
    (tmp_path / "bundle").write_bytes(_signed(wrong))
    with pytest.raises(BundleRefused, match="the slot is not the one"):
        verify_bundle(tmp_path / "bundle", [KEY.public])


def test_progress_only_grows_and_ends_at_the_size_of_the_slot(tmp_path: Path) -> None:
    (tmp_path / "slot").write_bytes(SLOT)
    told: list[tuple[int, int]] = []
    write_bundle(
        tmp_path / "slot",
        tmp_path / "bundle",
        RELEASE,
        KEY,
        chunk_bytes=MIB,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(done, len(SLOT)) for done in (0, MIB, 2 * MIB, len(SLOT))]


@pytest.mark.parametrize("changed", [SLOT[:-512], SLOT + bytes(512), bytes(len(SLOT)), b""])
def test_slot_that_changes_while_it_is_read_is_refused(tmp_path: Path, changed: bytes) -> None:
    slot, target = tmp_path / "slot", tmp_path / "bundle"
    slot.write_bytes(SLOT)

    def change(done: int, total: int) -> None:
        slot.write_bytes(changed)

    with pytest.raises(UsageError, match="changed while it was read"):
        write_bundle(slot, target, RELEASE, KEY, chunk_bytes=MIB, progress=change)
    assert list(tmp_path.iterdir()) == [slot]


@pytest.mark.parametrize("size", [0, 1, 513])
def test_slots_of_broken_sectors_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(UsageError, match=f"has {size} bytes"):
        _write(tmp_path, bytes(size))


@pytest.mark.parametrize("chunk_bytes", [0, MIB - 512, MIB + 1, 17 * MIB])
def test_chunk_sizes_out_of_bounds_are_refused(tmp_path: Path, chunk_bytes: int) -> None:
    with pytest.raises(UsageError, match="a chunk cannot have"):
        _write(tmp_path, bytes(512), chunk_bytes)
