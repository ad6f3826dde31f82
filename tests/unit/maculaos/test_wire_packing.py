"""Laws of packed messages: what one link packs the other unpacks; flags mean what they say."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.wire.compression import MIN_COMPRESSED_SIZE
from maculaos.wire.events import Events
from maculaos.wire.fragments import MAX_PIECE_SIZE
from maculaos.wire.frames import HEADER, MAX_PAYLOAD_SIZE, Frame, FrameError, FrameReader
from maculaos.wire.messages import Message, Ping, RpcResult, decode_message, encode_message
from maculaos.wire.packing import Packer, Unpacker
from maculaos.wire.registry import ErrorCode, FrameFlag, MessageType


def event(payload: bytes) -> Events:
    return Events("a.b", bytes(32), 1, (Raw(msgspec.msgpack.encode(payload)),))


def result(payload: bytes) -> RpcResult:
    return RpcResult(1, Raw(msgspec.msgpack.encode(payload)))


def frames_of(message: Message) -> list[Frame]:
    return FrameReader().feed(b"".join(Packer().pack(message)))


def unpacked(frames: list[Frame]) -> list[Message]:
    unpacker = Unpacker()
    return [said for each in frames if (said := unpacker.unpack(each, 1, 0.0)) is not None]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 4 * MAX_PIECE_SIZE), st.integers(0, 99)),
        max_size=5,
    )
)
def test_what_one_link_packs_the_other_unpacks(wanted: list[tuple[bool, int, int]]) -> None:
    rng = random.Random(1)
    messages = [
        event(rng.randbytes(size) if is_noise else b"%d," % seed * (size // 3))
        for is_noise, size, seed in wanted
    ]
    packer, stream = Packer(), b""
    for message in messages:
        stream += b"".join(packer.pack(message))
    assert unpacked(FrameReader().feed(stream)) == messages


def test_small_message_is_the_plain_frame() -> None:
    assert Packer().pack(Ping(7)) == (encode_message(Ping(7)),)


def test_nothing_is_compressed_where_bytes_are_cheap() -> None:
    message = event(bytes(10_000))
    assert Packer().pack(message, may_compress=False) == (encode_message(message),)
    assert sum(map(len, Packer().pack(message))) < 1000


def test_long_text_is_compressed_and_long_noise_is_cut() -> None:
    (text,) = frames_of(event(bytes(random.Random(1).choices(b"abcd", k=100_000))))
    assert text.flags == FrameFlag.COMPRESSED
    noise = frames_of(event(random.Random(1).randbytes(200_000)))
    assert [each.flags for each in noise] == [FrameFlag.FRAGMENTED] * 4
    both = frames_of(event(bytes(random.Random(1).choices(bytes(range(32)), k=900_000))))
    assert {each.flags for each in both} == {FrameFlag.COMPRESSED | FrameFlag.FRAGMENTED}
    assert len(unpacked(both)) == 1


def test_no_frame_of_a_link_is_longer_than_a_piece() -> None:
    frames = Packer().pack(event(random.Random(1).randbytes(3_000_000)))
    assert max(map(len, frames)) <= HEADER.size + 8 + MAX_PIECE_SIZE


def test_other_messages_may_travel_between_fragments() -> None:
    packer = Packer()
    first = packer.pack(event(random.Random(1).randbytes(100_000)))
    second = packer.pack(event(random.Random(2).randbytes(100_000)))
    mixed = (first[0], second[0], *packer.pack(Ping(1)), second[1], first[1])
    names = [type(each).__name__ for each in unpacked(FrameReader().feed(b"".join(mixed)))]
    assert names == ["Ping", "Events", "Events"]


def test_largest_payload_passes_and_one_byte_more_does_not() -> None:
    room = MAX_PAYLOAD_SIZE - len(encode_message(result(bytes(70_000)))) + 70_000 + HEADER.size
    largest = result(random.Random(1).randbytes(room))
    assert unpacked(frames_of(largest)) == [largest]
    with pytest.raises(FrameError) as refused:
        Packer().pack(result(random.Random(1).randbytes(room + 1)))
    assert refused.value.code is ErrorCode.TOO_LARGE


@pytest.mark.parametrize("flags", [0x0004, 0x8000, 0x0007])
def test_unknown_flag_is_malformed(flags: int) -> None:
    with pytest.raises(FrameError) as refused:
        Unpacker().unpack(Frame(MessageType.PING, b"\x91\x01", flags), 1, 0.0)
    assert refused.value.code is ErrorCode.MALFORMED


def test_where_nobody_packs_any_flag_is_malformed() -> None:
    text = bytes(random.Random(1).choices(b"abcd", k=2 * MIN_COMPRESSED_SIZE))
    (packed,) = frames_of(event(text))
    with pytest.raises(FrameError) as refused:
        decode_message(packed)
    assert refused.value.code is ErrorCode.MALFORMED
