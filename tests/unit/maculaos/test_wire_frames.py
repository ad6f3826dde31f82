"""Laws of frames: any split of the bytes gives the same frames, and bad headers never buffer."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.wire.frames import (
    HEADER,
    MAX_PAYLOAD_SIZE,
    Frame,
    FrameError,
    FrameReader,
    encode_frame,
)
from maculaos.wire.registry import WIRE_VERSION, ErrorCode

FRAMES = st.builds(Frame, st.integers(0, 255), st.binary(max_size=200), st.integers(0, 0xFFFF))


@given(frames=st.lists(FRAMES, max_size=8), data=st.data())
def test_any_split_of_the_stream_gives_the_same_frames(
    frames: list[Frame], data: st.DataObject
) -> None:
    stream = b"".join(map(encode_frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = FrameReader()
    read: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        read += reader.feed(stream[start:end])
    assert read == frames
    assert reader.pending_bytes == 0


def test_frame_is_written_as_the_protocol_says() -> None:
    assert encode_frame(Frame(0x12, b"abc", 0x0203)) == b"\x01\x12\x02\x03\x00\x00\x00\x03abc"


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_random_bytes_raise_nothing_but_frame_errors(pieces: list[bytes]) -> None:
    reader = FrameReader(max_payload_size=1000)
    with suppress(FrameError):
        for piece in pieces:
            reader.feed(piece)
    assert reader.pending_bytes <= sum(map(len, pieces))


def test_largest_payload_passes_and_one_byte_more_does_not() -> None:
    largest = Frame(1, bytes(MAX_PAYLOAD_SIZE))
    assert FrameReader().feed(encode_frame(largest)) == [largest]
    with pytest.raises(FrameError) as refused:
        encode_frame(Frame(1, bytes(MAX_PAYLOAD_SIZE + 1)))
    assert refused.value.code is ErrorCode.TOO_LARGE


def test_announced_size_above_the_limit_is_refused_with_the_header() -> None:
    header = HEADER.pack(WIRE_VERSION, 1, 0, MAX_PAYLOAD_SIZE + 1)
    reader = FrameReader()
    assert reader.feed(header[:-1]) == []
    with pytest.raises(FrameError) as refused:
        reader.feed(header[-1:])
    assert refused.value.code is ErrorCode.TOO_LARGE


def test_unknown_version_is_refused() -> None:
    with pytest.raises(FrameError) as refused:
        FrameReader().feed(HEADER.pack(WIRE_VERSION + 1, 1, 0, 0))
    assert refused.value.code is ErrorCode.UNSUPPORTED_VERSION


def test_raised_limit_counts_for_the_frame_that_is_under_way() -> None:
    reader = FrameReader(max_payload_size=4)
    frame = Frame(1, b"longer")
    encoded = encode_frame(frame)
    assert reader.feed(encoded[: HEADER.size - 1]) == []
    reader.max_payload_size = 6
    assert reader.feed(encoded[HEADER.size - 1 :]) == [frame]
