"""Bundles: what is whole and signed is read; everything else is refused before it is believed."""

from __future__ import annotations

import io
import lzma
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bundle import BadBundle, BundleReader, open_bundle
from appliance.keys import Keyring, NotSigned
from unit.appliance.bundleyard import (
    KEYRING,
    MAGIC,
    MIB,
    SLOT_BYTES,
    STRANGER,
    Making,
    system,
)

GOOD = Making(system("good"))
ENCODED = GOOD.encode()


class Dribble:
    """A stream that gives a few bytes at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self._file = io.BytesIO(content)
        self._step = step

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._step))


def unpacked(reader: BundleReader) -> bytes:
    return b"".join(chunk.unpack() for chunk in reader.chunks())


def read(content: bytes) -> bytes:
    return unpacked(open_bundle(io.BytesIO(content), KEYRING))


@given(step=st.integers(1000, 3 * MIB))
def test_bundle_gives_the_slot_however_the_stream_comes(step: int) -> None:
    reader = open_bundle(Dribble(ENCODED, step), KEYRING)
    assert (reader.manifest.version, reader.manifest.slot_bytes) == ("2.0", SLOT_BYTES)
    assert unpacked(reader) == system("good")


@given(data=st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    where = data.draw(st.integers(0, len(ENCODED) - 1))
    flip = data.draw(st.integers(1, 255))
    changed = bytearray(ENCODED)
    changed[where] ^= flip
    with pytest.raises((BadBundle, NotSigned)):
        read(bytes(changed))


@given(size=st.integers(0, len(ENCODED) - 1))
def test_any_cut_bundle_is_refused(size: int) -> None:
    with pytest.raises(BadBundle):
        read(ENCODED[:size])


def test_bytes_behind_the_last_chunk_are_refused() -> None:
    with pytest.raises(BadBundle, match="follows"):
        read(ENCODED + b"\0")


def test_bundle_of_a_stranger_is_refused() -> None:
    with pytest.raises(NotSigned, match="does not know"):
        read(Making(system("good"), key=STRANGER).encode())


def test_revoked_key_is_refused_even_if_it_is_trusted() -> None:
    revoked = Keyring(KEYRING.trusted, frozenset(KEYRING.trusted))
    with pytest.raises(NotSigned, match="revoked"):
        open_bundle(io.BytesIO(ENCODED), revoked)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"chunk_bytes": 17 * MIB},
        {"chunk_bytes": MIB // 2},
        {"chunk_bytes": MIB + 1},
        {"slot_bytes": (4 << 30) + 512},
        {"slot_bytes": -512},
        {"slot_bytes": 4 * MIB},
        {"slot_bytes": True},
        {"slot_sha256": "00"},
        {"chunks": ["zz"]},
        {"chunks": []},
        {"created": "yesterday"},
        {"created": "2026-11-21T10:00:00"},
        {"version": ""},
        {"name": None},
    ],
    ids=str,
)
def test_manifest_out_of_bounds_is_refused_even_if_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(BadBundle, match="manifest"):
        read(Making(system("good"), changes=changes).encode())


def test_unknown_keys_of_a_manifest_are_left_out() -> None:
    assert read(Making(system("good"), changes={"new": [1]}).encode()) == system("good")


def test_manifest_that_claims_to_be_huge_is_not_read() -> None:
    with pytest.raises(BadBundle, match="manifest is said"):
        read(MAGIC + (5 << 20).to_bytes(4, "big") + b"{}")


def test_chunk_that_unpacks_to_more_than_it_should_is_stopped() -> None:
    bomb = lzma.compress(bytes(64 * MIB), format=lzma.FORMAT_XZ, preset=0)
    with pytest.raises(BadBundle, match="size"):
        read(GOOD.head() + len(bomb).to_bytes(4, "big") + bomb)


def test_chunk_of_two_streams_is_refused() -> None:
    twice = lzma.compress(GOOD.pieces()[0]) + lzma.compress(b"more")
    with pytest.raises(BadBundle, match="size"):
        read(GOOD.head() + len(twice).to_bytes(4, "big") + twice)
