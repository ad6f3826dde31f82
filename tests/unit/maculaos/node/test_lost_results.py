"""Results over paths that find no room, or come behind the end: nobody waits, and no node falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bare_node import HI, told
from far_parts import brought, held_by, provider_of, streamed_from, written
from letter_parts import letters_of, only_routed
from maculaos.effects import Effect, Send
from maculaos.wire.messages import Message, RpcCall, RpcCancel, RpcError, RpcResult
from maculaos.wire.registry import Answering, RpcErrorCode
from maculaos.wire.table import Routed
from maculaos.wire.values import encode_value
from node_parts import node_id

if TYPE_CHECKING:
    from maculaos.node.cores import Cores

LARGE = encode_value(bytes(8_000_000))
# Of the outbox of one node.
ROOM = 64 * 1024 * 1024 // 8_000_000


def letters_in(effects: list[Effect]) -> list[Message]:
    """What is in the envelopes among some effects."""
    envelopes = [
        each.message
        for each in effects
        if isinstance(each, Send) and isinstance(each.message, Routed)
    ]
    return [held_by(each) for each in envelopes if each.frame]


def put(cores: Cores, answering: Answering) -> RpcCall:
    """A far call of add, as the client that answers it gets it."""
    call = RpcCall(1, "add", 30_000, b"", HI, 0, answering, 64)
    ((_, handed),) = told(brought(cores, written(letters_of("m9", "m0"), call, 10.0), call, 10.0))
    assert isinstance(handed, RpcCall)
    return handed


def test_stream_that_finds_no_room_ends_with_an_error_in_the_place_of_the_part() -> None:
    cores = provider_of()
    handed = put(cores, Answering.STREAM)
    effects: list[Effect] = []
    for _ in range(ROOM + 1):
        effects += cores.calls.answer(5, RpcResult(handed.call, LARGE, more=True), 10.1)
    *parts, end = letters_in(effects)
    assert [part.index for part in parts if isinstance(part, RpcResult)] == [*range(1, ROOM + 1)]
    assert isinstance(end, RpcError)
    assert (end.code, end.index) == (RpcErrorCode.PROVIDER_LOST, ROOM + 1)
    # The program that answers hears that nobody waits any more.
    (withdrawn,) = [message for _, message in told(effects)]
    assert isinstance(withdrawn, RpcCancel)
    assert len(cores.calls.pending) == 0
    assert cores.calls.answer(5, RpcResult(handed.call, HI), 10.2) == []


def test_result_that_finds_no_room_is_an_error_at_once() -> None:
    cores = provider_of()
    stream = put(cores, Answering.STREAM)
    for _ in range(ROOM):
        cores.calls.answer(5, RpcResult(stream.call, LARGE, more=True), 10.1)
    call = RpcCall(2, "add", 30_000, b"", HI)
    writer = letters_of("m8", "m0")
    ((_, handed),) = told(brought(cores, written(writer, call, 10.0), call, 10.0))
    assert isinstance(handed, RpcCall)
    (error,) = letters_in(cores.calls.answer(5, RpcResult(handed.call, LARGE), 10.2))
    assert isinstance(error, RpcError)
    assert (error.call, error.code) == (2, RpcErrorCode.PROVIDER_LOST)


def test_parts_behind_the_end_of_a_stream_are_nobodys() -> None:
    """A provider that sends two ends, both before the first part, ends no node."""
    cores, writer = provider_of(), letters_of("m5", "m1")
    handed = streamed_from(cores, "m5", number=7)
    heard: list[Message] = []
    for index, more in ((3, False), (2, False), (1, True)):
        part = RpcResult(handed.call, HI, more=more, index=index)
        letter = only_routed(writer.send(node_id("me"), part, 10.1, 70.0))
        heard += [message for _, message in told(brought(cores, letter, part, 10.1, link=2))]
    assert heard == [RpcResult(7, HI, more=True), RpcResult(7, HI)]
    assert len(cores.calls.pending) == 0
