"""Laws of frames that ride in datagrams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.datagrams import MAX_DATAGRAM_PAYLOAD, read_datagram
from maculaos.wire.frames import Frame, FrameError, encode_frame

FRAMES = st.builds(Frame, st.integers(0, 255), st.binary(max_size=100), st.just(0))


@given(frames=st.lists(FRAMES, min_size=1, max_size=8))
def test_datagram_of_whole_frames_is_read_back(frames: list[Frame]) -> None:
    assert read_datagram(b"".join(map(encode_frame, frames))) == frames


@given(frames=st.lists(FRAMES, min_size=1, max_size=3), missing=st.integers(1, 7))
def test_datagram_with_half_a_frame_is_malformed(frames: list[Frame], missing: int) -> None:
    with pytest.raises(FrameError):
        read_datagram(b"".join(map(encode_frame, frames))[:-missing])


def test_empty_datagram_is_malformed() -> None:
    with pytest.raises(FrameError):
        read_datagram(b"")


@given(noise=st.binary(max_size=MAX_DATAGRAM_PAYLOAD))
def test_noise_is_frames_or_malformed(noise: bytes) -> None:
    try:
        frames = read_datagram(noise)
    except FrameError:
        return
    assert b"".join(map(encode_frame, frames)) == noise
