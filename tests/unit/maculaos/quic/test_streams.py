"""Laws of the streams of one link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.streams import InboundStreams, OutboundStreams
from maculaos.wire.frames import Frame, FrameError, encode_frame
from maculaos.wire.registry import ErrorCode, StreamClass

FRAME = Frame(0x04, b"payload")


@given(
    sent=st.lists(st.tuples(st.sampled_from(StreamClass), st.binary(max_size=40)), max_size=10),
    chunk=st.integers(1, 30),
)
def test_what_one_end_queues_the_other_end_reads(
    sent: list[tuple[StreamClass, bytes]], chunk: int
) -> None:
    outbound, inbound = OutboundStreams(), InboundStreams(1000)
    for stream, payload in sent:
        outbound.queue(stream, encode_frame(Frame(1, payload)))
    heard: list[tuple[StreamClass, bytes]] = []
    for stream, octets in outbound.take():
        stream_id = 2 + 4 * stream
        for start in range(0, len(octets), chunk):
            received = inbound.receive(stream_id, octets[start : start + chunk])
            assert received is not None
            heard += [(received[0], frame.payload) for frame in received[1]]
    assert heard == sorted(sent, key=lambda item: item[0])
    assert outbound.take() == []
    assert outbound.buffered_bytes == 0


def test_class_is_said_once_per_stream() -> None:
    outbound = OutboundStreams()
    outbound.queue(StreamClass.BULK, b"a")
    assert outbound.take() == [(StreamClass.BULK, b"\x02a")]
    outbound.queue(StreamClass.BULK, b"b")
    assert outbound.take() == [(StreamClass.BULK, b"b")]


@pytest.mark.parametrize(
    ("stream_id", "data"),
    [(3, b"\x03"), (3, b"\xff"), (0, b"\x00"), (1, b"\x00")],
    ids=["unknown class", "unknown class", "bidirectional", "bidirectional"],
)
def test_stream_that_is_not_in_the_protocol_is_malformed(stream_id: int, data: bytes) -> None:
    with pytest.raises(FrameError) as refused:
        InboundStreams(1000).receive(stream_id, data)
    assert refused.value.code is ErrorCode.MALFORMED


def test_second_stream_of_a_class_is_malformed() -> None:
    inbound = InboundStreams(1000)
    inbound.receive(3, b"\x01")
    with pytest.raises(FrameError):
        inbound.receive(7, b"\x01")


def test_stream_without_a_byte_has_no_class_yet() -> None:
    assert InboundStreams(1000).receive(3, b"") is None


def test_large_frames_are_refused_until_they_are_allowed() -> None:
    encoded = encode_frame(FRAME)
    small = InboundStreams(len(FRAME.payload) - 1)
    with pytest.raises(FrameError) as refused:
        small.receive(3, b"\x01" + encoded)
    assert refused.value.code is ErrorCode.TOO_LARGE
    grown = InboundStreams(len(FRAME.payload) - 1)
    grown.receive(3, b"\x01")
    grown.allow_large_frames()
    assert grown.receive(3, encoded) == (StreamClass.MESSAGES, [FRAME])
    assert grown.receive(7, b"\x02" + encoded) == (StreamClass.BULK, [FRAME])
