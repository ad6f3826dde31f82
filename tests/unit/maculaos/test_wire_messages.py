"""Laws of messages: what is written is read, newer peers may append, anything else is refused."""

from __future__ import annotations

import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from maculaos import session
from maculaos.kademlia import contact
from maculaos.node import entries, messaging, peers, posts, sayings, traces
from maculaos.pubsub import realm_interest
from maculaos.wire import events, messages, table
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, Frame, FrameError, FrameReader
from maculaos.wire.messages import Message, body_frame, decode_message, encode_message
from maculaos.wire.registry import ErrorCode, MessageType
from maculaos.wire.seals import MAX_TAKEN
from maculaos.wire.table import Contact, Nodes, Record, Routed, Seal, Values

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


# Arrays.

NIL = Raw(b"\xc0")
ID = bytes(32)
PLACES = ("h:1",)
SOME_RUMOUR = messages.Rumour(ID, "x", PLACES, 0, 0)
SOME_RECORD = Record(ID, 1, b"", ID, 1, 1, 1, b"", b"")
# A message with the largest array that may be, and its field; and one item more is refused.
FULL: tuple[tuple[Message, str], ...] = (
    (messages.Handshake(2, "", ID, "x", PLACES * 8, ""), "addresses"),
    (messages.HandshakeAck(2, "", ID, "x", PLACES * 8, ""), "addresses"),
    (messages.Heartbeat((SOME_RUMOUR,) * 4000), "rumours"),
    (messages.Ping(1, (SOME_RUMOUR,) * 32), "rumours"),
    (messages.Pong(1, (SOME_RUMOUR,) * 32), "rumours"),
    (events.Post(1, "t", (NIL,) * 10_000), "payloads"),
    (events.Delivery(1, (1,) * 1_000_000, "t", ID, 1, (NIL,)), "subscriptions"),
    (events.Delivery(1, (1,), "t", ID, 1, (NIL,) * 10_000), "payloads"),
    (events.Taken(1, 1, (1,) * 1_000_000), "deliveries"),
    (events.Events("t", ID, 1, (NIL,) * 10_000), "payloads"),
    (events.Events("t", ID, 1, (), trace=(events.Hop(ID, 1),) * 18), "trace"),
    (events.Receipt((1,) * 4096), "sequences"),
    (events.Receipt((1,), trace=(events.Hop(ID, 1),) * 18), "trace"),
    (events.Interest(ID, 1, 1, (events.Wish("t"),) * 762_600), "added"),
    (messages.RpcRegister(("m",) * 1_000_000), "methods"),
    (messages.RpcUnregister(("m",) * 1_000_000), "methods"),
    (Nodes(1, (Contact(ID, PLACES),) * 64), "contacts"),
    (Values(1, (SOME_RECORD,) * 256, ()), "records"),
    (Values(1, (), (Contact(ID, PLACES),) * 64), "contacts"),
)


def arrays_of(kind: msgspec.inspect.Type, name: str) -> list[tuple[str, int | None]]:
    """Every array within that type: the field that holds it, and how many items it may have."""
    match kind:
        case msgspec.inspect.StructType(fields=fields):
            return [found for each in fields for found in arrays_of(each.type, each.name)]
        case msgspec.inspect.UnionType(types=types):
            return [found for each in types for found in arrays_of(each, name)]
        case msgspec.inspect.VarTupleType(item_type=item, max_length=most):
            return [(name, most), *arrays_of(item, name)]
        case msgspec.inspect.CollectionType() | msgspec.inspect.DictType():
            return [(name, None)]
        case _:
            return []


@pytest.mark.parametrize("kind", list(MessageType), ids=lambda kind: kind.name)
def test_no_array_is_without_a_bound(kind: MessageType) -> None:
    body = getattr(messages, "".join(word.capitalize() for word in kind.name.split("_")))
    arrays = arrays_of(msgspec.inspect.type_info(body), "")
    assert [name for name, most in arrays if most is None] == []


@pytest.mark.parametrize(
    ("message", "field"), FULL, ids=[f"{type(each).__name__}-{field}" for each, field in FULL]
)
def test_array_of_as_many_items_as_may_be_is_read_and_a_longer_one_refused(
    message: Message, field: str
) -> None:
    items = getattr(message, field)
    read = decode_message(body_frame(message))
    assert len(getattr(read, field)) == len(items)
    longer = msgspec.structs.replace(message, **{field: (*items, items[0])})
    assert refusal_of(body_frame(longer)) is ErrorCode.MALFORMED


def test_arrays_are_bounded_as_the_node_checks_what_it_hears() -> None:
    assert events.MAX_PAYLOADS == posts.MAX_PAYLOADS
    assert events.MAX_SEQUENCES == messaging.MAX_SEQUENCES
    assert events.MAX_TRACE == traces.MAX_TRACE
    least = realm_interest.wish_bytes("t", "")
    assert realm_interest.MAX_BYTES // least == events.MAX_WISHES
    assert messages.MAX_RUMOURS == peers._RUMOURS_PER_FRAME
    assert messages.MAX_RUMOURS_OF_PROBE == peers._RUMOURS_PER_PROBE
    assert (table.MAX_CONTACTS, table.MAX_RECORDS) == (entries.MAX_CONTACTS, entries.MAX_RECORDS)
    bounds = {each.MAX_ADDRESSES for each in (table, session, sayings, contact)}
    assert bounds == {8}


def test_array_that_is_too_long_is_refused_before_it_takes_memory() -> None:
    count = MAX_PAYLOAD_SIZE - 100
    begun = msgspec.msgpack.encode(["t", ID, 1])
    array = b"\xdd" + count.to_bytes(4, "big") + b"\xc0" * count
    frame = Frame(MessageType.EVENTS, b"\x94" + begun[1:] + array)
    tracemalloc.start()
    try:
        assert refusal_of(frame) is ErrorCode.MALFORMED
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 31, 33])
@pytest.mark.parametrize("kind", [MessageType.INTEREST_DIGEST, MessageType.INTEREST_WANTED])
def test_list_of_nodes_holds_node_ids_only(kind: MessageType, size: int) -> None:
    node = bytes(size)
    item = [node, 1, 1] if kind is MessageType.INTEREST_DIGEST else node
    assert refusal_of(Frame(kind, msgspec.msgpack.encode([[item]]))) is ErrorCode.MALFORMED


def test_letter_with_too_long_a_list_is_read_as_an_envelope_that_goes_no_further() -> None:
    seal = Seal(1, 1, 1, 0, (1,) * MAX_TAKEN, ID, bytes(64))
    letter = Routed(ID, ID, 9, b"x" * 30, seal)
    assert decode_message(body_frame(letter)) == letter
    longer = msgspec.structs.replace(seal, taken=(1,) * (MAX_TAKEN + 1))
    read = decode_message(body_frame(msgspec.structs.replace(letter, seal=longer)))
    assert read == Routed(ID, ID, 1, b"")


def test_change_that_takes_back_too_much_is_read_as_one_that_says_nothing() -> None:
    removed = (events.Wish("t"),) * events.MAX_WISHES
    change = events.Interest(ID, 3, 4, (events.Wish("u"),), removed)
    assert decode_message(body_frame(change)) == change
    longer = msgspec.structs.replace(change, removed=(*removed, events.Wish("t")))
    assert decode_message(body_frame(longer)) == events.Interest(ID, 0, 0, ())


@pytest.mark.parametrize(
    "body",
    [
        [ID, ID, 9, b"", [1, 1, 1, 0, "no list"]],
        [ID, ID, 9, b"", [1, 1, 1, 0, [0] * 200, 7]],
        [ID, ID, 9, b"", "no seal"],
    ],
)
def test_letter_that_is_wrong_in_another_way_is_refused(body: list[object]) -> None:
    frame = Frame(MessageType.ROUTED, msgspec.msgpack.encode(body))
    assert refusal_of(frame) is ErrorCode.MALFORMED
