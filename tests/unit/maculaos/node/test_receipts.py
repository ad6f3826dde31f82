"""At least once, at one node: receipts are earned, refusals are told, groups share."""

from __future__ import annotations

from collections import Counter

import pytest

from bare_node import HI, closed, identity, linked_node, met, sent
from eventful_node import LOTS, A, B, answers, deliveries, run_of, wanting, watching
from maculaos.wire.events import (
    Events,
    Hop,
    Post,
    Receipt,
    Taken,
    Watch,
    Wish,
)
from maculaos.wire.registry import ErrorCode, RpcErrorCode
from maculaos.wire.values import encode_value


def test_a_shared_run_is_no_repetition_of_the_same_run_for_all() -> None:
    node = watching("b")
    node.receive_from_client(1, Watch(0, 2, "news.*", LOTS, "g"), 0.0)
    for group in ("", "g"):
        run = run_of("d", targets=A[:8], hops=3, group=group)
        assert len(deliveries(node.receive(1, run, 0.0))) == 1


def test_an_acknowledged_run_is_confirmed_when_every_client_has_taken_it() -> None:
    node = watching("b")
    node.client_up(2, 0.0)
    node.receive_from_client(2, Watch(0, 4, "**", LOTS), 0.0)
    run = run_of(acknowledge=True, life=3)
    one, two = sorted(deliveries(node.receive(1, run, 0.0)), key=lambda told: told[0])
    again = node.receive(1, run, 0.0)
    assert deliveries(again) == []
    assert sent(again, Receipt) == [(1, Receipt((5,), is_under_way=True, through=4))]
    assert sent(node.receive_from_client(1, Taken(1, 1, (one[1].number,)), 0.0), Receipt) == []
    # Nobody confirms what another client holds.
    assert node.receive_from_client(1, Taken(1, 1, (two[1].number,)), 0.0) == []
    done = node.receive_from_client(2, Taken(4, 1, (two[1].number,)), 0.0)
    assert sent(done, Receipt) == [(1, Receipt((5,), through=5))]
    assert sent(node.receive(1, run, 0.0), Receipt) == [(1, Receipt((5,), through=5))]


def test_a_full_queue_refuses_an_acknowledged_run() -> None:
    node = linked_node("b")
    node.receive_from_client(1, Watch(0, 1, "news.x", 0, queue=1), 0.0)
    node.receive(1, run_of(acknowledge=True, life=3), 0.0)
    second = run_of(sequence=6, acknowledge=True, life=3, after=5)
    refused = Receipt((6,), RpcErrorCode.OVERLOADED, through=4)
    assert sent(node.receive(1, second, 0.0), Receipt) == [(1, refused)]
    third = run_of(sequence=7, acknowledge=True, life=3, after=6)
    assert sent(node.receive(1, third, 0.0), Receipt) == []
    # There is room again: it may come.
    missed = Receipt((), through=4)
    assert sent(node.receive_from_client(1, Taken(1, 10), 0.0), Receipt) == [(1, missed)]
    assert len(deliveries(node.receive(1, second, 0.0))) == 1


def test_a_run_without_subscribers_is_answered_at_once() -> None:
    node = linked_node("b")
    run = run_of(acknowledge=True, life=3)
    nobody = Receipt((5,), RpcErrorCode.NO_PROVIDER)
    assert sent(node.receive(1, run, 0.0), Receipt) == [(1, nobody)]
    shared = run_of(sequence=6, acknowledge=True, life=3, group="g")
    nobody = Receipt((6,), RpcErrorCode.NO_PROVIDER, group="g")
    assert sent(node.receive(1, shared, 0.0), Receipt) == [(1, nobody)]


def test_what_a_lost_client_held_goes_to_another_of_its_group() -> None:
    node = linked_node("b")
    for client in (2, 3):
        node.client_up(client, 0.0)
        node.receive_from_client(client, Watch(0, 1, "news.*", LOTS, "g"), 0.0)
    ((holder, _),) = deliveries(node.receive(1, run_of(acknowledge=True, group="g", life=1), 0.0))
    ((other, delivery),) = deliveries(node.client_down(holder, 1.0))
    assert {holder, other} == {2, 3}
    done = node.receive_from_client(other, Taken(1, 1, (delivery.number,)), 1.0)
    assert sent(done, Receipt) == [(1, Receipt((5,), group="g", through=5))]


def test_a_shared_run_is_dealt_out_here_and_elsewhere() -> None:
    node = linked_node("b")
    for client in (2, 3):
        node.client_up(client, 0.0)
        node.receive_from_client(client, Watch(0, 1, "jobs", LOTS, "g"), 0.0)
    wanting(node, 1, "b", Wish("jobs", "g", 2))
    payloads = tuple(encode_value(number) for number in range(8))
    effects = node.receive_from_client(1, Post(1, "jobs", payloads), 0.0)
    away = [each.payloads for _, each in sent(effects, Events) if isinstance(each, Events)]
    here = [each.payloads for _, each in deliveries(effects)]
    dealt = [bytes(payload) for part in (*away, *here) for payload in part]
    assert sorted(dealt) == sorted(map(bytes, payloads))
    assert [sum(map(len, parts)) for parts in (away, here)] == [4, 4]
    got = Counter(client for client, each in deliveries(effects) for _ in each.payloads)
    assert got == {2: 2, 3: 2}
    assert answers(effects) == [[1, 0]]


def test_too_much_that_is_not_confirmed_is_refused() -> None:
    node = linked_node("b", pending_calls=2)
    wanting(node, 1, "b", Wish("news"))
    got = [
        answers(node.receive_from_client(1, Post(number, "news", (HI,), True), 0.0))
        for number in (1, 2, 3)
    ]
    assert got == [[], [], [RpcErrorCode.OVERLOADED]]


def test_a_link_that_comes_back_carries_at_once_what_is_not_confirmed() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news"))
    ((_, first),) = sent(node.receive_from_client(1, Post(1, "news", (HI,), True), 0.0), Events)
    assert isinstance(first, Events)
    node.link_down(1, "lost", 0.1)
    effects = node.link_up(2, identity("b"), met("b", is_outbound=True, life=1), 0.2)
    ((link, again),) = sent(effects, Events)
    assert isinstance(again, Events)
    assert (link, again.sequence, again.payloads) == (2, first.sequence, first.payloads)


def test_nobody_forges_a_receipt_that_nobody_waits_for() -> None:
    node = linked_node("b")
    assert node.receive(1, Receipt((1, 2, 3)), 0.0) == []
    assert node.receive(1, Receipt((), is_under_way=True, through=2**63), 0.0) == []
    assert node.receive(1, Receipt((1,), trace=(Hop(B, 1),)), 0.0) == []
    assert closed(node.receive(1, Receipt(tuple(range(5000))), 0.0)) == [(1, ErrorCode.MALFORMED)]


@pytest.mark.parametrize(
    ("up_ms", "answer"), [(5000, [1, 0]), (500, RpcErrorCode.NOT_DELIVERED)], ids=["same", "new"]
)
def test_a_target_without_subscribers_is_missed_only_after_its_restart(
    up_ms: int, answer: object
) -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news"))
    posted = node.receive_from_client(1, Post(1, "news", (HI,), True), 10.0)
    ((_, run),) = sent(posted, Events)
    assert isinstance(run, Events)
    nobody = Receipt((run.sequence,), RpcErrorCode.NO_PROVIDER, up_ms=up_ms)
    assert answers(node.receive(1, nobody, 11.0)) == [answer]


def test_a_run_that_nobody_wanted_is_never_confirmed_later() -> None:
    node = linked_node("b")
    run = run_of(acknowledge=True, life=3)
    nobody = Receipt((5,), RpcErrorCode.NO_PROVIDER, up_ms=2000)
    node.receive(1, run, 1.0)
    node.receive_from_client(1, Watch(0, 1, "news.x", LOTS), 1.0)
    assert sent(node.receive(1, run, 2.0), Receipt) == [(1, nobody)]
