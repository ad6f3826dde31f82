"""Laws of messages: what is written is read, newer peers may append, anything else is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos.wire import events, messages
from maculaos.wire.frames import Frame, FrameError, FrameReader
from maculaos.wire.messages import Message, decode_message, encode_message
from maculaos.wire.registry import ErrorCode, MessageType

NUMBERS = st.integers(0, 2**63 - 1)
TEXTS = st.text(max_size=30)
TEXT_LISTS = st.lists(TEXTS, max_size=4).map(tuple)
IDS = st.binary(min_size=32, max_size=32)
PAYLOADS = st.one_of(st.none(), st.integers(0, 100), st.binary(max_size=30), TEXTS).map(
    lambda value: Raw(msgspec.msgpack.encode(value))
)
RUMOURS = st.lists(
    st.builds(messages.Rumour, IDS, TEXTS, TEXT_LISTS, NUMBERS, st.integers(0, 3)), max_size=3
).map(tuple)
RUNS = st.lists(PAYLOADS, max_size=3).map(tuple)
NUMBER_LISTS = st.lists(NUMBERS, max_size=3).map(tuple)
HOPS = st.lists(st.builds(events.Hop, IDS, NUMBERS), max_size=3).map(tuple)
WISHES = st.lists(st.builds(events.Wish, TEXTS, TEXTS), max_size=3).map(tuple)
STATES = st.lists(st.builds(events.InterestState, IDS, NUMBERS, NUMBERS), max_size=3).map(tuple)
GREETING = (NUMBERS, TEXTS, IDS, TEXTS, TEXT_LISTS, TEXTS)
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(messages.Handshake, *GREETING),
    st.builds(messages.HandshakeAck, *GREETING),
    st.builds(messages.Heartbeat, RUMOURS, st.booleans()),
    st.builds(messages.Ping, NUMBERS, RUMOURS),
    st.builds(messages.Pong, NUMBERS, RUMOURS),
    st.builds(events.Post, NUMBERS, TEXTS, RUNS, st.booleans(), NUMBERS),
    st.builds(events.Watch, NUMBERS, NUMBERS, TEXTS, NUMBERS, TEXTS, NUMBERS, NUMBERS),
    st.builds(events.Unwatch, NUMBERS),
    st.builds(events.Delivery, NUMBERS, NUMBER_LISTS, TEXTS, IDS, NUMBERS, RUNS, st.booleans()),
    st.builds(events.Taken, NUMBERS, NUMBERS, NUMBER_LISTS),
    st.builds(events.Events, TEXTS, IDS, NUMBERS, RUNS, IDS, NUMBERS, st.booleans(), trace=HOPS),
    st.builds(events.Receipt, NUMBER_LISTS, NUMBERS, TEXTS, HOPS, TEXTS),
    st.builds(events.Interest, IDS, NUMBERS, NUMBERS, WISHES, WISHES, st.booleans()),
    st.builds(events.InterestDigest, STATES),
    st.builds(events.InterestWanted, st.lists(IDS, max_size=3).map(tuple)),
    st.builds(messages.RpcCall, NUMBERS, TEXTS, NUMBERS, IDS, PAYLOADS),
    st.builds(messages.RpcResult, NUMBERS, PAYLOADS),
    st.builds(messages.RpcError, NUMBERS, NUMBERS, TEXTS),
    st.builds(messages.RpcRegister, TEXT_LISTS),
    st.builds(messages.RpcUnregister, TEXT_LISTS),
    st.builds(messages.Error, NUMBERS, TEXTS),
    st.builds(messages.Close, NUMBERS, TEXTS),
)


def only_frame(encoded: bytes) -> Frame:
    (frame,) = FrameReader().feed(encoded)
    return frame


def refusal_of(frame: Frame) -> ErrorCode | None:
    try:
        decode_message(frame)
    except FrameError as error:
        return error.code
    return None


@given(MESSAGES)
def test_message_reads_back_the_same(message: Message) -> None:
    assert decode_message(only_frame(encode_message(message))) == message


@given(st.integers(0, 255), st.binary(max_size=200), st.integers(0, 3))
def test_random_payload_raises_nothing_but_frame_errors(
    kind: int, payload: bytes, flags: int
) -> None:
    refusal = refusal_of(Frame(kind, payload, flags))
    assert refusal in {None, ErrorCode.UNKNOWN_TYPE, ErrorCode.MALFORMED}


@given(message=MESSAGES, data=st.data())
def test_damaged_message_raises_nothing_but_frame_errors(
    message: Message, data: st.DataObject
) -> None:
    frame = only_frame(encode_message(message))
    damaged = bytearray(frame.payload)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    assert refusal_of(Frame(frame.kind, bytes(damaged))) in {None, ErrorCode.MALFORMED}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0x01, "HANDSHAKE"), (0x02, "HANDSHAKE_ACK"), (0x03, "HEARTBEAT"), (0x04, "PING"),
        (0x05, "PONG"), (0x14, "POST"), (0x15, "WATCH"), (0x16, "UNWATCH"), (0x17, "DELIVERY"),
        (0x18, "TAKEN"), (0x19, "EVENTS"), (0x1A, "RECEIPT"), (0x1B, "INTEREST"),
        (0x1C, "INTEREST_DIGEST"), (0x1D, "INTEREST_WANTED"), (0x20, "RPC_CALL"),
        (0x21, "RPC_RESULT"), (0x22, "RPC_ERROR"),
        (0x23, "RPC_REGISTER"), (0x24, "RPC_UNREGISTER"), (0xF0, "ERROR"), (0xFF, "CLOSE"),
    ],
)  # fmt: skip
def test_registered_numbers_never_change(number: int, name: str) -> None:
    assert MessageType(number).name == name


def test_field_appended_by_a_newer_peer_is_ignored() -> None:
    body = msgspec.msgpack.encode([7, "from a newer peer"])
    assert decode_message(Frame(MessageType.NACK, body)) == messages.Nack(7)


def test_field_left_out_by_an_older_peer_takes_its_default() -> None:
    body = msgspec.msgpack.encode([7])
    assert decode_message(Frame(MessageType.ERROR, body)) == messages.Error(7, "")


def test_unknown_type_is_named_as_such() -> None:
    assert refusal_of(Frame(0x7F, b"")) is ErrorCode.UNKNOWN_TYPE


def test_flag_that_is_not_in_use_is_refused() -> None:
    assert (
        refusal_of(Frame(MessageType.CLOSE, msgspec.msgpack.encode([0]), 1)) is ErrorCode.MALFORMED
    )


@pytest.mark.parametrize(
    "payload", [b"", b"\xc1", b"\x91" * 5000, msgspec.msgpack.encode({"sequence": 1})]
)
def test_body_without_the_fields_of_its_type_is_refused(payload: bytes) -> None:
    assert refusal_of(Frame(MessageType.PING, payload)) is ErrorCode.MALFORMED


def test_payload_is_passed_on_without_being_read() -> None:
    raw = Raw(msgspec.msgpack.encode({"a": [1, 2]}))
    frame = only_frame(encode_message(events.Events("t", bytes(32), 1, (raw,))))
    event = decode_message(frame)
    assert isinstance(event, events.Events)
    assert [bytes(payload) for payload in event.payloads] == [bytes(raw)]
