"""Laws of the streams of one link."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.quic.streams import RANKS, InboundStreams, OutboundStreams
from maculaos.wire.frames import Frame, FrameError, encode_frame
from maculaos.wire.registry import ErrorCode, StreamClass

FRAME = Frame(0x04, b"payload")


def nothing(_: int) -> int:
    """All that was written is acknowledged."""
    return 0


@given(
    sent=st.lists(st.tuples(st.sampled_from(StreamClass), st.binary(max_size=40)), max_size=10),
    chunk=st.integers(1, 30),
)
def test_what_one_end_queues_the_other_end_reads(
    sent: list[tuple[StreamClass, bytes]], chunk: int
) -> None:
    outbound, inbound = OutboundStreams(10_000, nothing), InboundStreams(1000)
    for stream, payload in sent:
        assert outbound.offer(stream, encode_frame(Frame(1, payload)))
    heard: list[tuple[StreamClass, bytes]] = []
    for stream, octets in outbound.take():
        stream_id = 2 + 4 * stream
        for start in range(0, len(octets), chunk):
            received = inbound.receive(stream_id, octets[start : start + chunk])
            assert received is not None
            heard += [(received[0], frame.payload) for frame in received[1]]
    assert heard == sorted(sent, key=lambda item: RANKS[item[0]])
    assert outbound.take() == []
    assert outbound.buffered_bytes == 0


def test_class_is_said_once_per_stream() -> None:
    outbound = OutboundStreams(10, nothing)
    outbound.offer(StreamClass.BULK, b"a")
    assert outbound.take() == [(StreamClass.BULK, b"\x02a")]
    outbound.offer(StreamClass.BULK, b"b")
    assert outbound.take() == [(StreamClass.BULK, b"b")]


@pytest.mark.parametrize(
    ("stream_id", "data"),
    [(3, b"\x06"), (3, b"\xff"), (0, b"\x00"), (1, b"\x00")],
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


def test_control_goes_first_then_messages_by_priority_and_bulk_last() -> None:
    names = [stream.name for stream in sorted(RANKS, key=RANKS.__getitem__)]
    assert names == ["CONTROL", "URGENT", "HIGH", "MESSAGES", "LOW", "BULK"]


@given(
    offers=st.lists(st.tuples(st.sampled_from(StreamClass), st.integers(1, 60)), max_size=60),
    acknowledged=st.integers(0, 100),
)
def test_class_is_full_by_what_is_as_urgent_or_more(
    offers: list[tuple[StreamClass, int]], acknowledged: int
) -> None:
    waiting = dict.fromkeys(StreamClass, 0)
    outbound = OutboundStreams(100, lambda stream_id: waiting[StreamClass(stream_id)])
    for stream, size in offers:
        before = sum(waiting[each] for each in StreamClass if RANKS[each] <= RANKS[stream])
        is_taken = outbound.offer(stream, bytes(size))
        assert is_taken == (before + size <= 100)
        if is_taken:
            # Written at once, and on its way until it is acknowledged.
            outbound.stream_ids[stream] = int(stream)
            outbound.take()
            waiting[stream] += size
        waiting[stream] = max(0, waiting[stream] - acknowledged)
        assert outbound.waiting_bytes == sum(waiting.values())


def test_refused_messages_are_counted_by_class() -> None:
    outbound = OutboundStreams(10, nothing)
    assert outbound.offer(StreamClass.BULK, bytes(10))
    assert not outbound.offer(StreamClass.BULK, b"a")
    assert outbound.offer(StreamClass.CONTROL, bytes(10))
    assert not outbound.offer(StreamClass.URGENT, b"a")
    assert dict(outbound.refused) == {"BULK": 1, "URGENT": 1}


def test_more_than_a_size_is_held_exactly_when_it_waits_or_is_on_its_way() -> None:
    on_its_way = 0
    outbound = OutboundStreams(10_000, lambda _: on_its_way)
    outbound.stream_ids[StreamClass.MESSAGES] = 2
    for _ in range(20):
        assert outbound.offer(StreamClass.MESSAGES, bytes(50))
        outbound.take()
        # All of it is acknowledged at once: however much there was, nothing is held.
        assert not outbound.holds_more_than(60)
    for said in range(50, 151, 50):
        assert outbound.offer(StreamClass.MESSAGES, bytes(50))
        assert outbound.holds_more_than(60) == (said > 60)
        outbound.take()
        on_its_way = said
        assert outbound.holds_more_than(60) == (said > 60)
