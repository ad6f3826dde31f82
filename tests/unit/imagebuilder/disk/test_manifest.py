"""Manifests of bundles: one spelling each, and every bound held."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.disk.manifest import (
    MANIFEST_BYTES_MAX,
    BundleRefused,
    Manifest,
    Release,
    SlotDigests,
    decode,
    describe,
    encode,
)
from imagebuilder.disk.partitions import GIB, MIB

DIGEST = "ab" * 32
RELEASE = Release(
    name="maculaos", version="0.1.0", arch="amd64", commit="c" * 40, committed_at=1_700_000_000
)
GOOD: dict[str, Any] = {
    "format": 1,
    "name": "maculaos",
    "version": "0.1.0",
    "arch": "amd64",
    "commit": "c" * 40,
    "created": "2023-11-14T22:13:20Z",
    "slot_bytes": 5 * MIB,
    "chunk_bytes": 4 * MIB,
    "slot_sha256": DIGEST,
    "chunks": [DIGEST, DIGEST],
}


def _spelled(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes, sort_keys=True, separators=(",", ":")).encode()


def _digests(slot_bytes: int, chunk_bytes: int) -> SlotDigests:
    count = -(-slot_bytes // chunk_bytes)
    return SlotDigests(
        slot_bytes=slot_bytes,
        chunk_bytes=chunk_bytes,
        slot_sha256=DIGEST,
        chunks=(DIGEST,) * count,
    )


def test_manifest_has_the_keys_and_the_spelling_of_the_format() -> None:
    assert describe(RELEASE, _digests(5 * MIB, 4 * MIB)) == _spelled()


@given(st.integers(1, 1000).map(lambda n: n * 512), st.integers(2048, 32768).map(lambda n: n * 512))
def test_what_is_written_is_read(slot_bytes: int, chunk_bytes: int) -> None:
    text = describe(RELEASE, _digests(slot_bytes, chunk_bytes))
    manifest = decode(text)
    assert encode(manifest) == text
    sizes = [manifest.size_of(index) for index in range(len(manifest.chunks))]
    assert sum(sizes) == slot_bytes
    assert all(0 < size <= chunk_bytes for size in sizes)


def test_largest_slot_in_smallest_chunks_fits() -> None:
    assert len(describe(RELEASE, _digests(4 * GIB, MIB))) < MANIFEST_BYTES_MAX


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": "1"},
        {"name": ""},
        {"name": "a b"},
        {"name": "a\n"},
        {"version": "x" * 65},
        {"arch": "riscv64"},
        {"commit": "main"},
        {"commit": "c" * 41},
        {"created": "2023-11-14"},
        {"created": "2023-11-14T22:13:20+00:00"},
        {"created": "2023-13-14T22:13:20Z"},
        {"created": "٢023-11-14T22:13:20Z"},
        {"slot_bytes": 0, "chunks": []},
        {"slot_bytes": 5 * MIB + 1},
        {"slot_bytes": 5.5},
        {"slot_bytes": 4 * GIB + 512},
        {"chunk_bytes": MIB - 512},
        {"chunk_bytes": 16 * MIB + 512},
        {"slot_sha256": "AB" * 32},
        {"slot_sha256": "ab" * 31},
        {"chunks": [DIGEST]},
        {"chunks": [DIGEST] * 3},
        {"chunks": [DIGEST, DIGEST + "\n"]},
        {"chunks": [DIGEST, None]},
        {"another": 1},
    ],
)
def test_whatever_breaks_a_bound_is_refused(changes: dict[str, Any]) -> None:
    decode(_spelled())
    with pytest.raises(BundleRefused):
        decode(_spelled(**changes))


@pytest.mark.parametrize("missing", GOOD)
def test_every_key_is_required(missing: str) -> None:
    kept = {key: value for key, value in GOOD.items() if key != missing}
    with pytest.raises(BundleRefused):
        decode(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        _spelled() + b"\n",
        json.dumps(GOOD, sort_keys=True).encode(),
        json.dumps(dict(sorted(GOOD.items(), reverse=True)), separators=(",", ":")).encode(),
        _spelled().replace(b'"amd64"', b'"\\u0061md64"'),
        _spelled().replace(b'"arch"', b'"arch":"aarch64","arch"'),
        b" " * (MANIFEST_BYTES_MAX + 1),
    ],
)
def test_other_spellings_are_refused(text: bytes) -> None:
    with pytest.raises(BundleRefused):
        decode(text)


@given(st.binary(max_size=100))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(BundleRefused):
        decode(noise)


def test_release_that_no_reader_would_take_is_not_described() -> None:
    release = Release(name="a b", version="1", arch="amd64", commit="c" * 40, committed_at=0)
    with pytest.raises(BundleRefused, match="the manifest is wrong"):
        describe(release, _digests(MIB, MIB))


def test_manifest_is_a_value() -> None:
    assert decode(_spelled()) == decode(_spelled())
    assert isinstance(decode(_spelled()), Manifest)
