"""Calls on their way: put to another only if they did not run, taken back, cast, and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bare_node import HI, ask, counter, linked_node, sent, told
from maculaos.node.calls import MAX_TRIES
from maculaos.wire.messages import (
    Message,
    RpcCall,
    RpcCancel,
    RpcCredit,
    RpcError,
    RpcRegister,
    RpcResult,
)
from maculaos.wire.registry import Answering, Choice, RpcErrorCode
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.effects import Effect
    from maculaos.node import Node

NOT_RUN = [RpcErrorCode.NO_PROVIDER, RpcErrorCode.OVERLOADED]
MAY_HAVE_RUN = [
    RpcErrorCode.HANDLER_FAILED,
    RpcErrorCode.DEADLINE_EXCEEDED,
    RpcErrorCode.PROVIDER_LOST,
    RpcErrorCode.CANCELLED,
]


def asked(
    number: int = 7,
    choice: int = Choice.NEAREST,
    answering: int = Answering.ONE,
    credit: int = 0,
    deadline_ms: int = 1000,
) -> RpcCall:
    """A call of add."""
    return RpcCall(number, "add", deadline_ms, b"", HI, choice, answering, credit)


def node_with_peers(*peers: str) -> Node:
    """A node with client 1, and links to peers that all answer add."""
    node = linked_node(*peers)
    for link in range(1, len(peers) + 1):
        node.receive(link, RpcRegister(("add",)), 0.0)
    return node


def node_with_provider(concurrency: int = 0) -> Node:
    """A node with client 1, and client 2 that answers add."""
    node = linked_node("b")
    node.client_up(2, 0.0)
    node.receive_from_client(2, RpcRegister(("add",), concurrency), 0.0)
    return node


def only_sent(effects: list[Effect], kind: type[Message]) -> tuple[int, Message]:
    """The one message of that kind to a peer, and its link."""
    ((link, message),) = sent(effects, kind)
    return link, message


def handed(effects: list[Effect]) -> tuple[int, RpcCall]:
    """The one call that goes to a peer, and its link."""
    link, message = only_sent(effects, RpcCall)
    assert isinstance(message, RpcCall)
    return link, message


def handed_to_client(effects: list[Effect]) -> RpcCall:
    """The one call that goes to client 2."""
    ((client, message),) = told(effects)
    assert client == 2
    assert isinstance(message, RpcCall)
    return message


@pytest.mark.parametrize("code", NOT_RUN)
def test_call_that_was_not_run_is_put_to_every_provider_once(code: RpcErrorCode) -> None:
    node, tried = node_with_peers("b", "c", "d"), list[int]()
    effects = node.receive_from_client(1, asked(), 0.0)
    for _ in range(3):
        link, message = handed(effects)
        tried.append(link)
        effects = node.receive(link, RpcError(message.call, code, "not here"), 0.1)
    assert sorted(tried) == [1, 2, 3]
    assert told(effects) == [(1, RpcError(7, code, "not here"))]


def test_call_is_put_to_so_many_providers_and_no_more() -> None:
    node, tried = linked_node("b"), 0
    for client in range(2, 2 * MAX_TRIES):
        node.client_up(client, 0.0)
        node.receive_from_client(client, RpcRegister(("add",)), 0.0)
    ((client, message),) = told(node.receive_from_client(1, asked(), 0.0))
    while isinstance(message, RpcCall):
        tried += 1
        busy = RpcError(message.call, RpcErrorCode.OVERLOADED, "busy")
        ((client, message),) = told(node.receive_from_client(client, busy, 0.1))
    assert tried == MAX_TRIES
    assert (client, message) == (1, RpcError(7, RpcErrorCode.OVERLOADED, "busy"))


@pytest.mark.parametrize("code", MAY_HAVE_RUN)
def test_call_that_may_have_run_is_put_to_nobody_else(code: RpcErrorCode) -> None:
    node = node_with_peers("b", "c")
    link, message = handed(node.receive_from_client(1, asked(), 0.0))
    effects = node.receive(link, RpcError(message.call, code, "oh"), 0.1)
    assert told(effects) == [(1, RpcError(7, code, "oh"))]
    assert sent(effects, RpcCall) == []


def test_call_whose_provider_is_lost_is_put_to_nobody_else() -> None:
    node = node_with_peers("b", "c")
    link, _ = handed(node.receive_from_client(1, asked(), 0.0))
    effects = node.link_down(link, "gone", 0.1)
    ((_, error),) = told(effects)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.PROVIDER_LOST
    assert sent(effects, RpcCall) == []


def test_next_provider_has_the_time_that_is_left() -> None:
    node = node_with_peers("b", "c")
    link, message = handed(node.receive_from_client(1, asked(deadline_ms=1000), 0.0))
    assert message.deadline_ms == 1000
    busy = RpcError(message.call, RpcErrorCode.OVERLOADED)
    _, again = handed(node.receive(link, busy, 0.4))
    assert again.deadline_ms == 600


def test_being_busy_says_more_than_not_answering() -> None:
    node = node_with_peers("b", "c")
    link, message = handed(node.receive_from_client(1, asked(), 0.0))
    effects = node.receive(link, RpcError(message.call, RpcErrorCode.OVERLOADED, "busy"), 0.1)
    link, message = handed(effects)
    effects = node.receive(link, RpcError(message.call, RpcErrorCode.NO_PROVIDER, "no"), 0.1)
    assert told(effects) == [(1, RpcError(7, RpcErrorCode.OVERLOADED, "busy"))]


def test_client_is_handed_as_many_calls_as_it_takes_and_its_node_refuses_the_rest() -> None:
    node = node_with_provider(concurrency=2)
    first = handed_to_client(node.receive(1, asked(1), 0.0))
    handed_to_client(node.receive(1, asked(2), 0.0))
    _, refused = only_sent(node.receive(1, asked(3), 0.0), RpcError)
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.OVERLOADED
    node.receive_from_client(2, RpcResult(first.call, HI), 0.0)
    handed_to_client(node.receive(1, asked(4), 0.0))


def test_busy_client_is_passed_over_for_a_neighbour() -> None:
    node = node_with_provider(concurrency=1)
    node.receive(1, RpcRegister(("add",)), 0.0)
    handed_to_client(node.receive_from_client(1, asked(1), 0.0))
    assert handed(node.receive_from_client(1, asked(2), 0.0))[0] == 1


def test_call_that_its_caller_takes_back_is_cancelled_at_its_provider() -> None:
    node = node_with_provider()
    message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
    effects = node.receive_from_client(1, RpcCancel(7), 0.1)
    assert told(effects) == [(2, RpcCancel(message.call))]
    assert node.receive_from_client(2, RpcResult(message.call, HI), 0.2) == []
    assert node.receive_from_client(1, RpcCancel(7), 0.3) == []


def test_number_of_somebody_elses_call_cancels_nothing() -> None:
    node = node_with_provider()
    node.client_up(3, 0.0)
    message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
    assert node.receive_from_client(3, RpcCancel(7), 0.1) == []
    assert node.receive(1, RpcCancel(7), 0.1) == []
    answers = node.receive_from_client(2, RpcResult(message.call, HI), 0.1)
    assert told(answers) == [(1, RpcResult(7, HI))]


@pytest.mark.parametrize("ends", ["client", "link", "deadline"])
def test_provider_is_told_when_nobody_waits_any_more(ends: str) -> None:
    node = node_with_provider()
    if ends == "link":
        message = handed_to_client(node.receive(1, asked(), 0.0))
        effects = node.link_down(1, "gone", 0.1)
    elif ends == "client":
        message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
        effects = node.client_down(1, 0.1)
    else:
        message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
        effects = node.advance(1.0)
    assert (2, RpcCancel(message.call)) in told(effects)


def test_cast_is_handed_on_and_nothing_waits_for_it() -> None:
    node = node_with_provider()
    message = handed_to_client(node.receive_from_client(1, asked(answering=Answering.NONE), 0.0))
    assert message.answering == Answering.NONE
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    assert stats["pending_calls"] == 0
    node.receive_from_client(2, RpcResult(message.call, HI), 0.0)
    assert counter(node, "results_late") == 1


def test_cast_that_nobody_takes_is_not_answered() -> None:
    node = linked_node("b")
    assert node.receive_from_client(1, asked(answering=Answering.NONE), 0.0) == []
    assert node.receive(1, asked(answering=Answering.NONE), 0.0) == []
    assert node.receive_from_client(1, asked(9, answering=Answering.NONE, choice=99), 0.0) == []


def test_number_of_a_call_that_waits_is_not_used_again() -> None:
    node = node_with_provider()
    message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
    ((client, refused),) = told(node.receive_from_client(1, asked(), 0.0))
    assert client == 1
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.INVALID_REQUEST
    node.receive_from_client(2, RpcResult(message.call, HI), 0.0)
    handed_to_client(node.receive_from_client(1, asked(), 0.0))


@pytest.mark.parametrize(("choice", "answering"), [(4, 0), (-1, 0), (0, 3), (0, -1)])
def test_unknown_choice_or_kind_of_answer_is_refused(choice: int, answering: int) -> None:
    node = node_with_provider()
    ((_, refused),) = told(
        node.receive_from_client(1, asked(choice=choice, answering=answering), 0.0)
    )
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.INVALID_REQUEST


def test_several_results_for_one_are_refused() -> None:
    node = node_with_provider()
    message = handed_to_client(node.receive_from_client(1, asked(), 0.0))
    effects = node.receive_from_client(2, RpcResult(message.call, HI, more=True), 0.0)
    ((_, error), cancelled) = told(effects)
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.HANDLER_FAILED
    assert cancelled == (2, RpcCancel(message.call))


def values(count: int) -> list[RpcResult]:
    """Results of a stream, numbered."""
    return [RpcResult(7, encode_value(number), more=True) for number in range(count)]


@given(st.lists(st.integers(1, 5), max_size=6), st.integers(0, 5))
def test_stream_passes_as_much_as_was_granted_and_then_its_end(
    grants: list[int], credit: int
) -> None:
    node = node_with_provider()
    call = handed_to_client(
        node.receive_from_client(1, asked(answering=Answering.STREAM, credit=credit), 0.0)
    )
    assert call.credit == credit
    heard = list[tuple[int, Message]]()
    for grant in grants:
        effects = node.receive_from_client(1, RpcCredit(7, grant), 0.0)
        assert told(effects) == [(2, RpcCredit(call.call, grant))]
    expected = values(credit + sum(grants))
    for each in expected:
        part = RpcResult(call.call, each.payload, more=True)
        heard += told(node.receive_from_client(2, part, 0.1))
    heard += told(node.receive_from_client(2, RpcResult(call.call, HI), 0.2))
    assert heard == [*((1, each) for each in expected), (1, RpcResult(7, HI))]


def test_stream_beyond_what_was_granted_ends_with_an_error() -> None:
    node = node_with_provider()
    stream = asked(answering=Answering.STREAM, credit=1)
    call = handed_to_client(node.receive_from_client(1, stream, 0.0))
    part = RpcResult(call.call, HI, more=True)
    assert told(node.receive_from_client(2, part, 0.0)) == [(1, RpcResult(7, HI, more=True))]
    (_, error), cancelled = told(node.receive_from_client(2, part, 0.0))
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.HANDLER_FAILED
    assert cancelled == (2, RpcCancel(call.call))


def test_stream_that_began_is_put_to_nobody_else() -> None:
    node = node_with_peers("b", "c")
    stream = asked(answering=Answering.STREAM, credit=9)
    link, call = handed(node.receive_from_client(1, stream, 0.0))
    node.receive(link, RpcResult(call.call, HI, more=True), 0.0)
    busy = RpcError(call.call, RpcErrorCode.OVERLOADED, "busy")
    effects = node.receive(link, busy, 0.0)
    assert told(effects) == [(1, RpcError(7, RpcErrorCode.OVERLOADED, "busy"))]


def test_stream_that_did_not_begin_is_put_to_another_with_all_its_credit() -> None:
    node = node_with_peers("b", "c")
    stream = asked(answering=Answering.STREAM, credit=9)
    link, call = handed(node.receive_from_client(1, stream, 0.0))
    other, again = handed(node.receive(link, RpcError(call.call, RpcErrorCode.OVERLOADED), 0.0))
    assert other != link
    assert (again.credit, again.answering) == (9, Answering.STREAM)
    effects = node.receive(other, RpcResult(again.call, HI, more=True), 0.0)
    assert told(effects) == [(1, RpcResult(7, HI, more=True))]


def test_deadline_is_that_of_the_whole_stream() -> None:
    node = node_with_provider()
    stream = asked(answering=Answering.STREAM, credit=9)
    call = handed_to_client(node.receive_from_client(1, stream, 0.0))
    node.receive_from_client(2, RpcResult(call.call, HI, more=True), 0.9)
    ((_, error), cancelled) = told(node.advance(1.0))
    assert isinstance(error, RpcError)
    assert error.code == RpcErrorCode.DEADLINE_EXCEEDED
    assert cancelled == (2, RpcCancel(call.call))


def test_credit_for_what_is_no_stream_is_ignored() -> None:
    node = node_with_provider()
    handed_to_client(node.receive_from_client(1, asked(), 0.0))
    for credit in (RpcCredit(7, 5), RpcCredit(8, 5), RpcCredit(7, -5)):
        assert node.receive_from_client(1, credit, 0.0) == []


@pytest.mark.parametrize("choice", [Choice.ROUND_ROBIN, Choice.LEAST_PENDING])
def test_own_clients_and_neighbours_are_called_alike(choice: Choice) -> None:
    node = node_with_provider()
    node.receive(1, RpcRegister(("add",)), 0.0)
    to_peer = 0
    for number in range(20):
        to_peer += len(sent(node.receive_from_client(1, asked(number, choice), 0.0), RpcCall))
    assert to_peer == 10


def test_least_pending_avoids_who_is_slow() -> None:
    node = node_with_peers("b", "c")
    slow, called = 1, list[int]()
    for number in range(20):
        link, call = handed(node.receive_from_client(1, asked(number, Choice.LEAST_PENDING), 0.0))
        called.append(link)
        if link != slow:
            node.receive(link, RpcResult(call.call, HI), 0.0)
    assert called.count(slow) == 1
