"""Laws of compressed payloads: what goes in comes out, when it pays, and never more than bounds."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.wire.compression import (
    MAX_COMPRESSED_SIZE,
    MAX_RATIO,
    MIN_COMPRESSED_SIZE,
    compress,
    inflate,
)
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, FrameError
from maculaos.wire.registry import ErrorCode


def refusal(payload: bytes) -> ErrorCode:
    with pytest.raises(FrameError) as refused:
        inflate(payload)
    return refused.value.code


@given(st.binary(min_size=1, max_size=60), st.integers(1, 4000))
def test_what_is_compressed_comes_back_and_is_an_eighth_shorter(seed: bytes, times: int) -> None:
    payload = seed * times
    deflated = compress(payload)
    if deflated is not None:
        assert inflate(deflated) == payload
        assert len(deflated) <= len(payload) * 7 / 8


@pytest.mark.parametrize("size", [MIN_COMPRESSED_SIZE, 5000, 100_000])
def test_noise_and_repetition_are_told_apart(size: int) -> None:
    rng = random.Random(size)
    assert compress(rng.randbytes(size)) is None
    assert compress(bytes(rng.randrange(8) for _ in range(size))) is not None


@pytest.mark.parametrize("size", [0, 1, MIN_COMPRESSED_SIZE - 1, MAX_COMPRESSED_SIZE + 1])
def test_what_is_too_short_or_too_long_to_pay_stays_as_it_is(size: int) -> None:
    assert compress((b"abcdefgh" * (size // 8 + 1))[:size]) is None


def test_own_sender_never_breaks_the_bound_of_its_receiver() -> None:
    # Zeros shrink most; at the best level more than a receiver believes.
    for size in (MIN_COMPRESSED_SIZE, 50_000, MAX_COMPRESSED_SIZE):
        deflated = compress(bytes(size))
        assert deflated is None or inflate(deflated) == bytes(size)
    assert refusal(zlib.compress(bytes(1_000_000), 9)) is ErrorCode.TOO_LARGE


def test_bomb_costs_no_more_memory_than_its_bound() -> None:
    bomb = zlib.compress(bytes(200 * 1024 * 1024), 9)
    tracemalloc.start()
    assert refusal(bomb) is ErrorCode.TOO_LARGE
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * MAX_PAYLOAD_SIZE + 64 * 1024 * 1024


def test_bound_of_a_frame_holds_whatever_the_ratio() -> None:
    rng = random.Random(1)
    payload = bytes(rng.choices(b"ab", k=200_000)) * (MAX_PAYLOAD_SIZE // 200_000 + 1)
    deflated = zlib.compress(payload)
    assert len(deflated) * MAX_RATIO > len(payload)
    assert refusal(deflated) is ErrorCode.TOO_LARGE


def test_what_is_not_one_whole_stream_is_malformed() -> None:
    good = zlib.compress(b"x" * 20 + b"abcdefghij")
    assert inflate(good) == b"x" * 20 + b"abcdefghij"
    for bad in (b"", b"nonsense", good[:-1], good + b"!", good + good, good[:-1] + b"\x00"):
        assert refusal(bad) is ErrorCode.MALFORMED


@given(st.binary(max_size=300))
def test_any_bytes_inflate_or_are_refused(payload: bytes) -> None:
    with suppress(FrameError):
        assert len(inflate(payload)) <= MAX_RATIO * len(payload)
