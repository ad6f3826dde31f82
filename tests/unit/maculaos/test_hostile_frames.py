"""Frames and messages that nobody honest sends: refused or answered, never a crash of the node."""

from __future__ import annotations

import contextlib
import random
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from bare_node import (
    HI,
    ask,
    call,
    closed,
    counter,
    identity,
    linked_node,
    make_node,
    met,
    sent,
    told,
)
from maculaos.effects import Effect, Send, SendToClient
from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.settings import LimitSettings
from maculaos.wire.events import (
    MAX_WISHES,
    Events,
    Interest,
    InterestDigest,
    InterestState,
    InterestWanted,
    Post,
    Receipt,
    Taken,
    Watch,
    Wish,
)
from maculaos.wire.frames import MAX_PAYLOAD_SIZE, FrameError, FrameReader
from maculaos.wire.messages import (
    Error,
    Heartbeat,
    Message,
    Ping,
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
    Rumour,
    body_frame,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode
from maculaos.wire.seals import MAX_TAKEN
from maculaos.wire.table import Routed, Seal
from maculaos.wire.values import MAX_VALUE_SIZE, decode_value, encode_value

if TYPE_CHECKING:
    from maculaos.node import Node

LIMITS = {"members": 20, "subscriptions": 10, "pending_calls": 6, "links": 4}
SEEDS: tuple[Message, ...] = (
    Heartbeat((Rumour(bytes(32), "x", ("127.0.0.1:1",), 3, 1),), True),
    Ping(1, (Rumour(bytes(identity("a").node_id), "a", ("127.0.0.1:4701",), 9, 2),)),
    Post(1, "t", (HI, HI), True),
    Watch(1, 1, "t.*", 10, "g", 10, 1),
    Taken(1, 5, (1, 2)),
    Events("t", bytes(identity("b").node_id), 1, (HI,), acknowledge=True, life=1),
    Events("t", bytes(identity("x").node_id), 1, (HI,), bytes(identity("a").node_id)[:8], 9),
    Receipt((1, 2), 5, group="g"),
    Interest(bytes(identity("b").node_id), 1, 1, (Wish("t"), Wish("u.*", "g"))),
    InterestDigest((InterestState(bytes(identity("b").node_id), 1, 3),)),
    InterestWanted((bytes(identity("a").node_id),)),
    RpcCall(1, "m.n", 1000, b"", HI),
    RpcResult(1, HI),
    RpcError(1, 1, "no"),
    RpcRegister(("m.n",)),
    Error(1, "no"),
)


def filled(size: int) -> Raw:
    """A payload of exactly ``size`` bytes."""
    return Raw(msgspec.msgpack.encode(b"x" * (size - 5)))


def carried_out(effects: list[Effect]) -> list[Effect]:
    """Encode what a shell would encode: it raises if something fits no frame."""
    for effect in effects:
        if isinstance(effect, Send | SendToClient):
            encode_message(effect.message)
    return effects


def talk(seed: int, count: int, number: int) -> Heartbeat:
    """Rumours of that many members whom nobody ever saw, each with eight addresses."""
    rng = random.Random(seed)
    hosts = [f"10.{number}.{each >> 8}.{each & 255}" for each in range(count)]
    return Heartbeat(
        tuple(
            Rumour(rng.randbytes(32), "x", tuple(f"{host}:{port}" for port in range(1, 9)), 0, 0)
            for host in hosts
        )
    )


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SEEDS), st.data())
def test_a_mutated_frame_is_refused_or_understood(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    node = linked_node("b", **LIMITS)  # type: ignore[arg-type]  # limits are numbers, all of them
    try:
        for cut in FrameReader().feed(bytes(frame)):
            heard = decode_message(cut)
            carried_out(node.receive(1, heard, 1.0))
            carried_out(node.receive_from_client(1, heard, 1.0))
            carried_out(node.advance(2.0))
    except FrameError:
        pass  # how a reader or decoder refuses; the shell ends the connection


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_payload_is_a_value_or_refused(payload: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        encode_value(decode_value(Raw(payload)))


# A node passes values on in other frames than they came in.


def test_a_call_that_fits_no_frame_on_its_way_is_refused() -> None:
    node = linked_node("b")
    node.receive_from_client(1, RpcRegister(("m.n",)), 0.0)
    call = RpcCall(1, "m.n", 1000, b"", filled(MAX_PAYLOAD_SIZE - 20))
    encode_message(call)
    (answer,) = carried_out(node.receive(1, call, 0.0))
    assert isinstance(answer, Send)
    assert isinstance(answer.message, RpcError)
    assert answer.message.code == RpcErrorCode.INVALID_REQUEST


def test_a_result_that_fits_no_frame_on_its_way_fails_the_call() -> None:
    node = linked_node("b")
    node.receive(1, RpcRegister(("m.n",)), 0.0)
    called = RpcCall(2**63, "m.n", 1000, b"", HI)
    ((_, handed),) = sent(node.receive_from_client(1, called, 0.0), RpcCall)
    assert isinstance(handed, RpcCall)
    result = RpcResult(handed.call, filled(MAX_PAYLOAD_SIZE - 11))
    encode_message(result)
    ((_, answer),) = told(carried_out(node.receive(1, result, 0.0)))
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.HANDLER_FAILED


def test_an_event_that_fits_no_frame_on_its_way_is_refused() -> None:
    node = linked_node("b")
    node.receive(1, Interest(bytes(identity("b").node_id), 1, 1, (Wish("t"),)), 0.0)
    post = Post(1, "t", (filled(MAX_PAYLOAD_SIZE - 30),))
    ((_, answer),) = told(carried_out(node.receive_from_client(1, post, 0.0)))
    assert isinstance(answer, RpcError)


def test_words_of_an_error_are_cut_before_they_are_passed_on() -> None:
    node = linked_node("b")
    node.receive(1, RpcRegister(("m.n",)), 0.0)
    called = RpcCall(1, "m.n", 1000, b"", HI)
    ((_, handed),) = sent(node.receive_from_client(1, called, 0.0), RpcCall)
    assert isinstance(handed, RpcCall)
    ((_, answer),) = told(node.receive(1, RpcError(handed.call, 3, "x" * 10_000_000), 0.0))
    assert isinstance(answer, RpcError)
    assert len(answer.detail) == 1000
    asked = RpcCall(1, "x" * 10_000_000, 1000, b"", HI)
    ((_, answer),) = told(node.receive_from_client(1, asked, 0.0))
    assert isinstance(answer, RpcError)
    assert len(answer.detail) == 1000
    wish = encode_value({"address": "\0" * 5_000_000})
    joined = node.receive_from_client(1, RpcCall(1, "macula.join", 1000, b"", wish), 0.0)
    ((_, answer),) = told(joined)
    assert isinstance(answer, RpcError)
    assert len(answer.detail) == 1000


def test_the_largest_value_passes_and_one_byte_more_is_our_error() -> None:
    encode_value(b"x" * (MAX_VALUE_SIZE - 5))
    with pytest.raises(UsageError, match="in parts"):
        encode_value(b"x" * (MAX_VALUE_SIZE - 4))


def test_a_peer_that_complains_for_ever_does_not_fill_the_log() -> None:
    node = linked_node("b")
    notes = [note for _ in range(100) for note in node.receive(1, Error(1, "no"), 0.0)]
    assert len(notes) == 10


# Rumours.


def test_an_address_longer_than_a_host_name_can_be_costs_the_link() -> None:
    node = linked_node("b")
    rumour = Rumour(bytes(32), "x", (".".join(["h" * 60] * 5) + ":1",), 0, 0)
    assert closed(node.receive(1, Heartbeat((rumour,)), 0.0)) == [(1, ErrorCode.MALFORMED)]


def test_a_state_too_large_for_one_frame_is_said_in_several() -> None:
    node = linked_node("b", "c")
    long = ".".join(["h" * 60] * 4)
    for batch in range(5):
        rng = random.Random(batch)
        rumours = tuple(
            Rumour(rng.randbytes(32), "x", tuple(f"{long}.x{n}:{p}" for p in range(1, 9)), 0, 0)
            for n in range(1999)
        )
        carried_out(node.receive(1, Heartbeat(rumours), 0.0))
    said = carried_out(node.receive(2, Heartbeat((), wants_reply=True), 0.0))
    states = [each.message for each in said if isinstance(each, Send)]
    assert all(isinstance(each, Heartbeat) for each in states)
    assert len(states) == 3
    members = RpcCall(1, "macula.members", 1000, b"", HI)
    ((_, answer),) = told(carried_out(node.receive_from_client(1, members, 0.0)))
    assert isinstance(answer, RpcError)


def test_bad_news_under_a_false_name_is_refuted_too() -> None:
    node = linked_node("b")
    lie = Rumour(bytes(identity("a").node_id), "zz", ("10.0.0.1:1",), 5, 2)
    node.receive(1, Heartbeat((lie,)), 0.0)
    said = node.receive(1, Heartbeat((), wants_reply=True), 0.0)
    (state,) = [each.message for each in said if isinstance(each, Send)]
    assert isinstance(state, Heartbeat)
    assert (state.rumours[0].name, state.rumours[0].incarnation) == ("a", 6)


def known_ids(node: Node) -> set[str]:
    """The ids of the members that a node knows."""
    ask = RpcCall(1, "macula.members", 1000, b"", HI)
    ((_, answer),) = told(node.receive_from_client(1, ask, 0.0))
    assert isinstance(answer, RpcResult)
    listed = decode_value(answer.payload)
    assert isinstance(listed, list)
    return {str(each["node_id"]) for each in listed if isinstance(each, dict)}


def test_who_is_linked_is_a_member_however_full_the_table_is_of_hearsay() -> None:
    node = linked_node("b", members=50)
    node.receive(1, talk(1, 51, 1), 0.0)
    node.link_up(2, identity("c"), met("c", is_outbound=False), 0.0)
    assert identity("c").node_id.hex() in known_ids(node)


# One peer must not take what the others need.


def test_topics_of_one_peer_leave_room_for_those_of_others() -> None:
    node = linked_node("b", "c", subscriptions=100)
    b, c = (bytes(identity(name).node_id) for name in "bc")
    node.receive(1, Interest(b, 1, 1, tuple(Wish(f"x{n}") for n in range(100))), 0.0)
    node.receive(2, Interest(c, 1, 1, (Wish("a"), Wish("b"))), 0.0)
    node.receive(1, Interest(b, 1, 2, (Wish("y"),)), 0.0)
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    assert stats["interest"] == 102


def test_methods_of_one_peer_leave_room_for_those_of_others() -> None:
    node = linked_node("b", "c", subscriptions=100)
    assert closed(node.receive(1, RpcRegister(tuple(f"x{n}" for n in range(100))), 0.0)) == []
    assert closed(node.receive(2, RpcRegister(("a", "b")), 0.0)) == []
    assert closed(node.receive(1, RpcRegister(("y",)), 0.0)) == []
    assert counter(node, "messages_ignored") == 1
    for number, (method, link) in enumerate((("x99", 1), ("a", 2), ("b", 2))):
        calls = sent(node.receive_from_client(1, call(number, method), 0.0), RpcCall)
        assert [each for each, _ in calls] == [link]


def dials_in(node: Node, until: float) -> list[str]:
    """What a node dials when nobody ever answers."""
    seen: list[str] = []
    while (now := node.next_deadline()) <= until:
        for effect in node.advance(now):
            address = getattr(effect, "address", None)
            if address is not None:
                seen.append(address)
                node.dial_failed(address, "no answer", now + 0.001)
    return seen


def test_hearsay_never_pushes_out_an_address_that_an_operator_named() -> None:
    named = "192.0.2.1:1"
    node = make_node(limits=LimitSettings(members=300))
    node.link_up(1, identity("b"), met("b", is_outbound=True), 0.0)
    for number in range(1, 4):
        node.receive(1, talk(number, 300, number), 0.0)
    node.set_peers((named,), 0.0)
    assert dials_in(node, 20.0).count(named) >= 2


def test_an_address_where_nobody_ever_was_is_given_up_with_its_member() -> None:
    node = linked_node("b")
    stranger = Rumour(bytes(32), "x", ("192.0.2.1:1",), 0, 0)
    node.receive(1, Heartbeat((stranger,)), 0.0)
    assert "192.0.2.1:1" in dials_in(node, 7200.0)
    dials_in(node, 7300.0)
    assert "192.0.2.1:1" not in dials_in(node, 7600.0)


def test_hearsay_leaves_room_for_the_addresses_that_an_operator_names() -> None:
    node = make_node(limits=LimitSettings(members=300, pending_handshakes=8))
    node.client_up(1, 0.0)
    node.link_up(1, identity("b"), met("b", is_outbound=True), 0.0)
    node.receive(1, talk(1, 300, 1), 0.0)
    dialled = [e for now in range(5) for e in node.advance(float(now)) if hasattr(e, "address")]
    assert len(dialled) == 4
    wish = encode_value({"address": "192.0.2.1:1"})
    effects = node.receive_from_client(1, RpcCall(1, "macula.join", 1000, b"", wish), 4.0)
    assert [getattr(each, "address", None) for each in effects][1:] == ["192.0.2.1:1"]


def test_a_flood_of_addresses_is_taken_in_without_a_pause() -> None:
    node = linked_node("b")
    began = time.process_time()
    node.receive(1, talk(1, 2000, 1), 0.0)
    # A tenth of a second; with work that grows with the square of the addresses it was six.
    assert time.process_time() - began < 3.0
    assert len(known_ids(node)) == 2002


def test_an_own_address_by_another_name_is_dialled_once() -> None:
    node = make_node(peers=("localhost:4701",))
    node.client_up(1, 0.0)
    node.advance(0.0)
    node.dialled_self("localhost:4701", 0.1)
    assert dials_in(node, 60.0) == []


# Nodes that bound no arrays pass some on, and are not to blame.


def test_who_brings_a_letter_with_too_long_a_list_keeps_its_link() -> None:
    a, b, c = (bytes(identity(name).node_id) for name in "abc")
    node = linked_node("b", "c")
    seal = Seal(1, 1, 1, 0, (1,) * (MAX_TAKEN + 1))
    for target in (a, c):
        letter = decode_message(body_frame(Routed(target, b, 9, b"x", seal)))
        assert node.receive(1, letter, 0.0) == []
    counters = ask(node, "macula.stats")
    assert isinstance(counters, dict)
    assert isinstance(counters["counters"], dict)
    assert counters["counters"]["envelopes_dropped"] == 2


def test_who_brings_a_change_that_takes_back_too_much_is_asked_for_the_whole() -> None:
    c = bytes(identity("c").node_id)
    node = linked_node("b")
    change = Interest(c, 3, 1, (Wish("t"),), (Wish("u"),) * (MAX_WISHES + 1))
    effects = node.receive(1, decode_message(body_frame(change)), 0.0)
    assert closed(effects) == []
    assert sent(effects, InterestWanted) == [(1, InterestWanted((c,)))]
    assert sent(effects, Interest) == []
