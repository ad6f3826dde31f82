"""Publish/subscribe of one node: what clients say, what peers say, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from bare_node import HI, ask, closed, counter, linked_node, sent, told
from eventful_node import LOTS, A, B, C, D, answers, deliveries, run_of, wanting, watching
from maculaos.effects import Send, SendToClient
from maculaos.node.routing import MAX_HOPS
from maculaos.node.traces import MAX_TRACES
from maculaos.settings import EventSettings
from maculaos.wire.events import (
    Events,
    Post,
    Receipt,
    Taken,
    Unwatch,
    Watch,
    Wish,
)
from maculaos.wire.messages import Heartbeat, RpcError, Rumour
from maculaos.wire.registry import ErrorCode, Policy, RpcErrorCode, StreamClass
from maculaos.wire.values import encode_value

if TYPE_CHECKING:
    from maculaos.node import Node


def test_a_run_goes_to_who_wants_it_and_to_nobody_else() -> None:
    node = watching("b", "c")
    node.client_up(2, 0.0)
    wanting(node, 1, "b", Wish("news.**"))
    effects = node.receive_from_client(2, Post(7, "news.x", (HI, HI)), 0.0)
    ((link, run),) = sent(effects, Events)
    assert link == 1
    assert isinstance(run, Events)
    assert (run.publisher, run.payloads, run.targets, run.hops) == (A, (HI, HI), b"", 0)
    ((client, delivery),) = deliveries(effects)
    assert (client, delivery.subscriptions, delivery.number) == (1, (1,), 0)
    assert (delivery.sequence, delivery.payloads) == (run.sequence, run.payloads)
    assert answers(effects) == [[2, 0]]


def test_numbers_rise_by_the_payloads_of_a_run() -> None:
    node = watching("b")
    found = [
        delivery.sequence
        for count in (3, 2, 1)
        for _, delivery in deliveries(
            node.receive_from_client(1, Post(0, "news.x", (HI,) * count), 0.0)
        )
    ]
    assert [each - found[0] for each in found] == [0, 3, 5]


def test_one_message_serves_all_subscriptions_of_a_client() -> None:
    node = watching()
    node.receive_from_client(1, Watch(0, 2, "**", LOTS), 0.0)
    effects = node.receive_from_client(1, Post(0, "news.x", (HI,)), 0.0)
    ((_, delivery),) = deliveries(effects)
    assert sorted(delivery.subscriptions) == [1, 2]


def test_no_more_is_handed_over_than_there_is_credit_for() -> None:
    node = linked_node()
    node.receive_from_client(1, Watch(0, 1, "news", 3), 0.0)
    payloads = tuple(encode_value(number) for number in range(8))
    first = deliveries(node.receive_from_client(1, Post(0, "news", payloads), 0.0))
    second = deliveries(node.receive_from_client(1, Taken(1, 2), 0.0))
    third = deliveries(node.receive_from_client(1, Taken(1, 100), 0.0))
    got = [len(each.payloads) for _, each in (*first, *second, *third)]
    assert got == [3, 2, 3]
    assert b"".join(bytes(p) for _, d in (*first, *second, *third) for p in d.payloads) == b"".join(
        map(bytes, payloads)
    )


def test_a_subscription_that_asked_for_it_ends_when_it_falls_behind() -> None:
    node = linked_node()
    policy = int(Policy.DISCONNECT)
    node.receive_from_client(1, Watch(9, 1, "news", 1, queue=2, policy=policy), 0.0)
    node.receive_from_client(1, Post(0, "news", (HI,) * 3), 0.0)
    effects = node.receive_from_client(1, Post(0, "news", (HI,)), 0.0)
    ((_, ended),) = told(effects)
    assert isinstance(ended, RpcError)
    assert (ended.call, ended.code) == (9, RpcErrorCode.OVERLOADED)
    assert deliveries(node.receive_from_client(1, Post(0, "news", (HI,)), 0.0)) == []
    assert counter(node, "events_overflowed") == 1


@pytest.mark.parametrize(
    "watch",
    [
        Watch(7, 2, "a*", 1),
        Watch(7, 2, "**.a", 1),
        Watch(7, 1, "a", 1),
        Watch(7, 2, "a", 1, policy=9),
        Watch(7, 2, "a", 1, group="x" * 65),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused_and_the_client_stays(watch: Watch) -> None:
    node = watching()
    effects = node.receive_from_client(1, watch, 0.0)
    assert answers(effects) == [RpcErrorCode.INVALID_REQUEST]
    assert len(deliveries(node.receive_from_client(1, Post(0, "news.x", (HI,)), 0.0))) == 1


@pytest.mark.parametrize(
    "post",
    [
        Post(7, "a.*", (HI,)),
        Post(7, "", (HI,)),
        Post(7, "a", ()),
        Post(7, "a", (HI,) * 10_001),
        Post(7, "a", (HI,), priority=4),
        Post(7, "a", (HI,), ttl_ms=-1),
        Post(7, "a b", (), is_trace=True),
    ],
)
def test_a_post_that_makes_no_sense_is_refused(post: Post) -> None:
    effects = linked_node("b").receive_from_client(1, post, 0.0)
    assert answers(effects) == [RpcErrorCode.INVALID_REQUEST]


def test_what_nobody_asked_an_answer_for_gets_none() -> None:
    node = linked_node()
    assert node.receive_from_client(1, Watch(0, 1, "a*", 1), 0.0) == []
    assert node.receive_from_client(1, Post(0, "a*", (HI,)), 0.0) == []


@pytest.mark.parametrize(
    "run",
    [
        run_of("d"),
        run_of("d", targets=A[:8], hops=MAX_HOPS),
        run_of(targets=A[:8], hops=0),
        run_of(targets=A[:8], hops=MAX_HOPS + 1),
        run_of(targets=A[:7], hops=3),
        run_of(targets=A[:8] * 1001, hops=3),
        run_of(priority=4),
        run_of(priority=-1),
        run_of(ttl_ms=-1),
        run_of(group="g" * 65),
        Events("news.x", b"me", 1, (HI,), A[:8], 3),
        Events("x" * 256, B, 1, (HI,)),
        Events("news.x", B, 1, (HI,) * 10_001),
    ],
)
def test_a_run_that_no_honest_peer_sends_costs_the_link(run: Events) -> None:
    assert closed(watching("b").receive(1, run, 0.0)) == [(1, ErrorCode.MALFORMED)]


def test_a_run_that_others_bring_is_taken_once_and_goes_on_to_the_rest() -> None:
    node = watching("b", "c")
    known = Rumour(D, "d", ("127.0.0.1:4999",), 0, 0)
    node.receive(1, Heartbeat((known,)), 0.0)
    run = run_of("d", targets=A[:8] + C[:8], hops=9)
    effects = node.receive(1, run, 0.0)
    assert [each.publisher for _, each in deliveries(effects)] == [D]
    ((link, onward),) = sent(effects, Events)
    assert link == 2
    assert onward == msgspec.structs.replace(run, targets=C[:8], hops=8)
    assert deliveries(node.receive(2, run_of("d", targets=A[:8], hops=3), 0.0)) == []
    assert sent(node.receive(1, run_of("d", 6, targets=C[:8], hops=1), 0.0), Events) == []


def test_a_run_never_goes_back_over_the_link_that_it_came_over() -> None:
    node = watching("b", "c")
    known = Rumour(D, "d", ("127.0.0.1:4999",), 0, 0)
    node.receive(1, Heartbeat((known,)), 0.0)
    for came_over, other in ((1, 2), (2, 1)):
        effects = node.receive(came_over, run_of("e", targets=D[:8], hops=5), 0.0)
        assert [link for link, _ in sent(effects, Events)] == [other]


def test_priority_chooses_the_stream() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news"))
    classes = [
        each.stream
        for priority in range(4)
        for each in node.receive_from_client(1, Post(0, "news", (HI,), priority=priority), 0.0)
        if isinstance(each, Send)
    ]
    assert classes == [
        StreamClass.URGENT,
        StreamClass.HIGH,
        StreamClass.MESSAGES,
        StreamClass.LOW,
    ]


def test_what_waited_has_less_time_left_and_at_last_none() -> None:
    node = linked_node("b")
    node.receive_from_client(1, Watch(0, 1, "news.x", 0), 0.0)
    node.receive(1, run_of(ttl_ms=1000), 0.0)
    node.receive(1, run_of(sequence=6, ttl_ms=200), 0.0)
    ((_, delivery),) = deliveries(node.receive_from_client(1, Taken(1, 10), 0.4))
    assert (delivery.sequence, delivery.ttl_ms) == (5, 600)
    assert counter(node, "events_expired") == 1


def test_trace_answers_without_those_that_do_not_answer() -> None:
    node = linked_node("b", "c")
    wanting(node, 1, "b", Wish("news"))
    wanting(node, 2, "c", Wish("news"))
    effects = node.receive_from_client(1, Post(7, "news", (), ttl_ms=500, is_trace=True), 1.0)
    (_, run), _ = sent(effects, Events)
    assert isinstance(run, Events)
    assert [hop.node for hop in run.trace] == [A]
    node.receive(1, Receipt((run.sequence,), trace=(*run.trace, run.trace[0])), 1.1)
    assert node.next_deadline() <= 1.5
    ((route_b, route_c),) = answers(node.advance(1.5))
    assert (len(route_b["hops"]), route_c) == (2, {"node": "c", "hops": []})


def test_a_trace_that_is_one_too_many_is_refused_before_anything_is_sent() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news"))
    for number in range(1, MAX_TRACES + 1):
        traced = node.receive_from_client(1, Post(number, "news", (), is_trace=True), 0.0)
        assert len(sent(traced, Events)) == 1
    (refused,) = node.receive_from_client(1, Post(999, "news", (), is_trace=True), 0.0)
    assert isinstance(refused, SendToClient)
    assert isinstance(refused.message, RpcError)
    assert (refused.message.call, refused.message.code) == (999, RpcErrorCode.OVERLOADED)


def test_copies_of_retained_events_go_when_nobody_wants_them_any_more() -> None:
    node = linked_node("b")
    for number, pattern in ((1, "news.*"), (2, "**")):
        node.receive_from_client(1, Watch(0, number, pattern, LOTS), 0.0)
    node.receive(1, run_of(retain_ms=60_000), 0.0)
    node.receive_from_client(1, Unwatch(1), 1.0)
    again = node.receive_from_client(1, Watch(0, 3, "news.x", LOTS), 2.0)
    assert [each.is_retained for _, each in deliveries(again)] == [True]
    for number in (2, 3):
        node.receive_from_client(1, Unwatch(number), 3.0)
    assert deliveries(node.receive_from_client(1, Watch(0, 4, "news.x", LOTS), 4.0)) == []


class CheapSeal:
    """A seal that stands for real signatures: the word of the publisher itself."""

    def sign(self, run: Events) -> Events:
        return msgspec.structs.replace(run, public_key=run.publisher, signature=b"genuine")

    def is_genuine(self, run: Events) -> bool:
        return (run.public_key, run.signature) == (run.publisher, b"genuine")


def sealed(**wants: bool) -> Node:
    """Node a, linked with b, that signs or asks for signatures."""
    node = linked_node("b", events=EventSettings(**wants))
    node.seal_events(CheapSeal())
    node.receive_from_client(1, Watch(0, 1, "news.*", LOTS), 0.0)
    wanting(node, 1, "b", Wish("news.*"))
    return node


@pytest.mark.parametrize("sign", [True, False])
def test_what_is_published_is_signed_if_the_settings_say_so(sign: bool) -> None:
    effects = sealed(sign=sign).receive_from_client(1, Post(0, "news.x", (HI,)), 0.0)
    ((_, run),) = sent(effects, Events)
    assert isinstance(run, Events)
    assert bool(run.signature) is sign


def test_a_forged_run_is_not_delivered_and_does_not_hide_the_genuine_one() -> None:
    node = sealed()
    genuine = CheapSeal().sign(run_of("d", targets=A[:8], hops=3))
    forged = msgspec.structs.replace(genuine, signature=b"forged")
    assert node.receive(1, forged, 0.0) == []
    assert len(deliveries(node.receive(1, genuine, 0.0))) == 1
    assert counter(node, "events_refused") == 1


def test_an_unsigned_run_is_refused_where_a_signature_is_asked_for() -> None:
    assert deliveries(sealed(require_signature=True).receive(1, run_of(), 0.0)) == []
    assert len(deliveries(sealed().receive(1, run_of(), 0.0))) == 1


def test_subscriptions_are_bounded_and_counted() -> None:
    node = watching(subscriptions=2)
    node.receive_from_client(1, Watch(0, 2, "x", 1), 0.0)
    assert answers(node.receive_from_client(1, Watch(5, 3, "y", 1), 0.0)) == [
        RpcErrorCode.INVALID_REQUEST
    ]
    stats = ask(node, "macula.stats")
    assert isinstance(stats, dict)
    assert stats["subscriptions"] == 2
