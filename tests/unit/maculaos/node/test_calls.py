"""Calls find a provider, and every caller gets exactly one answer."""

from __future__ import annotations

import pytest

from bare_node import HI, call, counter, identity, linked_node, sent, told
from maculaos.effects import Send, SendToClient
from maculaos.kademlia.methods import method_key
from maculaos.node.entries import record_to_wire
from maculaos.wire.messages import (
    Error,
    RpcCall,
    RpcError,
    RpcRegister,
    RpcResult,
    RpcUnregister,
    encode_message,
)
from maculaos.wire.registry import RpcErrorCode, StreamClass
from maculaos.wire.table import FindValue, Values
from maculaos.wire.values import encode_value
from node_parts import record_by


def test_a_call_goes_to_a_local_provider_first() -> None:
    node = linked_node("b")
    node.client_up(2, 0.0)
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(2, RpcRegister(("add",)), 0.0)
    ((provider, handed),) = told(node.receive_from_client(1, call(), 0.0))
    assert provider == 2
    assert isinstance(handed, RpcCall)
    assert handed.caller == identity("a").node_id
    answers = node.receive_from_client(2, RpcResult(handed.call, HI), 0.0)
    assert answers == [SendToClient(1, RpcResult(7, HI))]


def test_a_call_goes_to_the_peers_that_offer_it_in_turn_and_the_result_comes_back() -> None:
    node = linked_node("b", "c", "d")
    for link in (1, 3):
        node.receive(link, RpcRegister(("add",)), 0.0)
    for number, link in enumerate((1, 3, 1, 3)):
        ((chosen, handed),) = sent(node.receive_from_client(1, call(number), 0.0), RpcCall)
        assert chosen == link
        assert isinstance(handed, RpcCall)
        answers = node.receive(link, RpcError(handed.call, 3, "no"), 0.0)
        assert answers == [SendToClient(1, RpcError(number, 3, "no"))]


def test_a_call_from_a_peer_is_answered_by_a_client_and_names_its_real_caller() -> None:
    node = linked_node("b", "c")
    node.receive(2, RpcRegister(("far",)), 0.0)
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    forged = RpcCall(7, "add", 1000, identity("c").node_id, HI)
    ((_, handed),) = told(node.receive(1, forged, 0.0))
    assert isinstance(handed, RpcCall)
    assert handed.caller == identity("b").node_id
    answers = node.receive_from_client(1, RpcResult(handed.call, HI), 0.0)
    assert answers == [Send(1, RpcResult(7, HI), StreamClass.MESSAGES)]
    ((_, refused),) = sent(node.receive(1, call(8, "far"), 0.0), RpcError)
    assert isinstance(refused, RpcError)
    assert refused.code == RpcErrorCode.NO_PROVIDER


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (call(method="unknown"), RpcErrorCode.NO_PROVIDER),
        (call(deadline_ms=0), RpcErrorCode.INVALID_REQUEST),
        (call(deadline_ms=10**9), RpcErrorCode.INVALID_REQUEST),
        (call(method="macula.reload"), RpcErrorCode.INVALID_REQUEST),
    ],
)
def test_a_call_that_cannot_be_is_refused_at_once(message: RpcCall, code: RpcErrorCode) -> None:
    node = linked_node()
    ((_, answer),) = told(node.receive_from_client(1, message, 0.0))
    assert isinstance(answer, RpcError)
    assert (answer.call, answer.code) == (7, code)


def test_a_lost_provider_and_a_missed_deadline_are_told() -> None:
    node = linked_node("b")
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(1, call(1, deadline_ms=100), 0.0)
    assert node.next_deadline() <= 0.1
    expired = [each for _, each in told(node.advance(0.1)) if isinstance(each, RpcError)]
    assert [(each.call, each.code) for each in expired] == [(1, RpcErrorCode.DEADLINE_EXCEEDED)]
    assert node.receive(1, RpcResult(1, HI), 0.2) == []
    assert counter(node, "results_late") == 1
    node.receive_from_client(1, call(2), 0.2)
    lost = [each for _, each in told(node.link_down(1, "gone", 0.3)) if isinstance(each, RpcError)]
    assert [(each.call, each.code) for each in lost] == [(2, RpcErrorCode.PROVIDER_LOST)]


def test_too_many_waiting_calls_are_refused() -> None:
    node = linked_node("b", pending_calls=2)
    node.receive(1, RpcRegister(("add",)), 0.0)
    node.receive_from_client(1, call(1), 0.0)
    ((_, answer),) = told(node.receive_from_client(1, call(2), 0.0))
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.OVERLOADED


def test_methods_of_the_node_cannot_be_offered_nor_reached_from_elsewhere() -> None:
    node = linked_node("b")
    ((_, refused),) = told(node.receive_from_client(1, RpcRegister(("macula.ping",)), 0.0))
    assert isinstance(refused, Error)
    ((_, answer),) = sent(node.receive(1, call(method="macula.members"), 0.0), RpcError)
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.INVALID_REQUEST


def test_a_registration_with_a_number_is_answered_and_taken_as_a_whole_or_not_at_all() -> None:
    node = linked_node("b", subscriptions=2)
    effects = node.receive_from_client(1, RpcRegister(("add",), request=3), 0.0)
    assert told(effects) == [(1, RpcResult(3, encode_value(None)))]
    assert sent(effects, RpcRegister) == [(1, RpcRegister(("add",)))]
    for number, methods in ((4, ("sub", "mul")), (5, ("sub", "no method")), (6, ("macula.ping",))):
        effects = node.receive_from_client(1, RpcRegister(methods, request=number), 0.0)
        ((_, refused),) = told(effects)
        assert isinstance(refused, RpcError)
        assert (refused.call, refused.code) == (number, RpcErrorCode.INVALID_REQUEST)
        assert not sent(effects, RpcRegister)
    ((_, said),) = told(node.receive_from_client(1, RpcRegister(("sub", "mul")), 0.0))
    assert isinstance(said, Error)
    assert told(node.receive_from_client(1, call(), 0.0))


def test_of_a_neighbour_with_larger_limits_as_many_methods_are_heard_as_there_is_room_for() -> None:
    node = linked_node("b", "c", "d", subscriptions=10)
    for link, name in enumerate("bcd", start=1):
        message = RpcRegister(tuple(f"{name}.{each}" for each in range(8 + link)))
        assert node.receive(link, message, 0.0) == []
    # One may have 10 of the 20 there are: 9 of b, 10 of 10 of c, and 1 of d.
    assert counter(node, "messages_ignored") == 1
    heard = [
        method
        for number, method in enumerate(f"{name}.{each}" for name in "bcd" for each in range(12))
        if sent(node.receive_from_client(1, call(number, method), 0.0), RpcCall)
    ]
    assert heard == [f"b.{n}" for n in range(9)] + [f"c.{n}" for n in range(10)] + ["d.0"]
    node.link_down(1, "gone", 0.0)
    assert node.receive(3, RpcRegister(("late",)), 0.0) == []
    assert sent(node.receive_from_client(1, call(100, "late"), 0.0), RpcCall)


def test_methods_that_come_and_go_are_told_in_frames_of_less_than_a_megabyte() -> None:
    node = linked_node("b")
    names = tuple(f"n{number:06}.{'x' * 247}" for number in range(9000))
    for effects, kind in (
        (node.receive_from_client(1, RpcRegister(names), 0.0), RpcRegister),
        (node.receive_from_client(1, RpcUnregister(names), 0.0), RpcUnregister),
        (node.receive_from_client(1, RpcRegister(names), 0.0), RpcRegister),
        (node.client_down(1, 0.0), RpcUnregister),
    ):
        messages = [each for _, each in sent(effects, kind)]
        assert all(len(encode_message(each)) < 2**20 for each in messages)
        assert tuple(name for each in messages for name in getattr(each, "methods", ())) == names


def test_unregistered_methods_are_no_longer_announced_or_called() -> None:
    node = linked_node("b")
    node.receive_from_client(1, RpcRegister(("add",)), 0.0)
    effects = node.receive_from_client(1, RpcUnregister(("add",)), 0.0)
    assert sent(effects, RpcUnregister) == [(1, RpcUnregister(("add",)))]
    ((_, answer),) = told(node.receive_from_client(1, call(), 0.0))
    assert isinstance(answer, RpcError)


def test_a_method_of_a_neighbour_that_found_no_room_is_looked_for_though_all_are_linked() -> None:
    node = linked_node("b", subscriptions=10)
    node.receive(1, RpcRegister(tuple(f"x{each}" for each in range(11))), 0.0)
    effects = node.receive_from_client(1, call(method="x10", deadline_ms=9000), 0.0)
    ((link, question),) = sent(effects, FindValue)
    assert isinstance(question, FindValue)
    provider = record_to_wire(record_by("b", method_key("x10")))
    effects = node.receive(link, Values(question.request, (provider,), ()), 0.0)
    assert [link for link, _ in sent(effects, RpcCall)] == [1]
