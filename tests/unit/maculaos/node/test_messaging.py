"""Publish/subscribe of one node: what clients say, what peers say, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from bare_node import HI, ask, closed, counter, identity, linked_node, make_node, met, sent, told
from maculaos.effects import Effect, Send
from maculaos.node.routing import MAX_HOPS
from maculaos.settings import EventSettings
from maculaos.wire.events import (
    Delivery,
    Events,
    Interest,
    InterestDigest,
    InterestState,
    InterestWanted,
    Post,
    Receipt,
    Taken,
    Unwatch,
    Watch,
    Wish,
)
from maculaos.wire.messages import Heartbeat, RpcError, RpcResult, Rumour
from maculaos.wire.registry import ErrorCode, Policy, RpcErrorCode, StreamClass
from maculaos.wire.values import decode_value, encode_value

if TYPE_CHECKING:
    from maculaos.node import Node

A, B, C, D = (bytes(identity(name).node_id) for name in "abcd")
LOTS = 1_000_000


def wanting(node: Node, link: int, name: str, *wishes: Wish, version: int = 1) -> None:
    """A peer says what its clients want."""
    node.receive(link, Interest(identity(name).node_id, 1, version, wishes), 0.0)


def watching(*peers: str, **limits: int) -> Node:
    """Node a, linked with these, whose client wants news."""
    node = linked_node(*peers, events=None, **limits)
    node.receive_from_client(1, Watch(0, 1, "news.*", LOTS), 0.0)
    return node


def deliveries(effects: list[Effect]) -> list[tuple[int, Delivery]]:
    found = told(effects)
    return [(client, each) for client, each in found if isinstance(each, Delivery)]


def answers(effects: list[Effect]) -> list[Any]:
    """What the results for clients hold, and the codes of errors."""
    values: list[Any] = []
    for _, message in told(effects):
        if isinstance(message, RpcResult):
            values.append(decode_value(message.payload))
        elif isinstance(message, RpcError):
            values.append(RpcErrorCode(message.code))
    return values


def run_of(name: str = "b", sequence: int = 5, **more: object) -> Events:
    """A run that a peer published."""
    return Events("news.x", identity(name).node_id, sequence, (HI,), **more)  # type: ignore[arg-type]


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


def test_interest_is_told_when_it_begins_and_when_it_ends() -> None:
    node = linked_node("b")
    node.client_up(2, 0.0)
    (begun,) = sent(node.receive_from_client(1, Watch(0, 1, "news", 1), 1.0), Interest)
    assert begun == (1, Interest(A, 1, 1, (Wish("news"),)))
    assert sent(node.receive_from_client(2, Watch(0, 1, "news", 1), 2.0), Interest) == []
    assert sent(node.receive_from_client(1, Unwatch(1), 3.0), Interest) == []
    (ended,) = sent(node.client_down(2, 4.0), Interest)
    assert ended == (1, Interest(A, 1, 2, (), (Wish("news"),)))


def test_much_that_is_wanted_at_once_is_told_in_one_word() -> None:
    node = linked_node("b")
    effects = [
        effect
        for number in range(50)
        for effect in node.receive_from_client(1, Watch(0, number, f"t{number}", 1), 1.0)
    ]
    assert len(sent(effects, Interest)) == 1
    assert node.next_deadline() < 1.1
    ((_, rest),) = sent(node.advance(1.1), Interest)
    assert isinstance(rest, Interest)
    assert len(rest.added) == 49


def test_a_new_link_hears_how_far_everybody_was_heard_and_asks_for_the_rest() -> None:
    node = linked_node("b")
    node.receive_from_client(1, Watch(0, 1, "news", 1), 1.0)
    wanting(node, 1, "b", Wish("x"))
    effects = node.link_up(9, identity("c"), met("c", is_outbound=False), 2.0)
    ((_, digest),) = sent(effects, InterestDigest)
    assert digest == InterestDigest((InterestState(A, 1, 1), InterestState(B, 1, 1)))
    asked = node.receive(9, InterestWanted((A, B, D)), 2.0)
    assert [message for _, message in sent(asked, Interest)] == [
        Interest(A, 1, 1, (Wish("news"),), is_whole=True),
        Interest(B, 1, 1, (Wish("x"),), is_whole=True),
    ]
    told_more = InterestDigest((InterestState(C, 4, 2), InterestState(B, 1, 1)))
    assert sent(node.receive(9, told_more, 2.0), InterestWanted) == [(9, InterestWanted((C,)))]


def test_words_of_others_are_passed_on_once_and_not_back() -> None:
    node = linked_node("b", "c")
    word = Interest(B, 1, 1, (Wish("news"),))
    assert sent(node.receive(1, word, 0.0), Interest) == [(2, word)]
    assert node.receive(2, word, 0.0) == []


def test_a_gap_is_closed_by_asking_for_the_whole() -> None:
    node = linked_node("b")
    later = Interest(B, 1, 3, (Wish("news"),))
    assert sent(node.receive(1, later, 0.0), InterestWanted) == [(1, InterestWanted((B,)))]


def test_a_node_that_hears_what_it_never_said_begins_another_life() -> None:
    node = watching("b", "c")
    ((_, refuted), _) = sent(node.receive(1, Interest(A, 5, 9, ()), 1.0), Interest)
    assert refuted == Interest(A, 6, 2, (Wish("news.*"),), is_whole=True)


@pytest.mark.parametrize(
    "word",
    [
        Interest(b"short", 1, 1, ()),
        Interest(B, 1, 1, (Wish("a*b"),)),
        Interest(B, 1, 1, (Wish("a", "x" * 65),)),
        Interest(B, 1, 1, (Wish("a", "g", 0),)),
        InterestDigest((InterestState(b"", 1, 1),)),
        InterestWanted((b"x",)),
    ],
)
def test_who_tells_nonsense_of_interest_loses_the_link(word: Interest) -> None:
    assert closed(linked_node("b").receive(1, word, 0.0)) == [(1, ErrorCode.MALFORMED)]


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
    missed = Receipt((), through=4)
    assert sent(node.receive(1, third, 0.0), Receipt) == [(1, missed)]
    node.receive_from_client(1, Taken(1, 10), 0.0)
    assert len(deliveries(node.receive(1, second, 0.0))) == 1


def test_a_run_without_subscribers_is_confirmed_at_once() -> None:
    node = linked_node("b")
    run = run_of(acknowledge=True, life=3)
    assert sent(node.receive(1, run, 0.0), Receipt) == [(1, Receipt((5,), through=5))]
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


def test_a_node_tells_how_many_share_there() -> None:
    node = linked_node("b")
    said = []
    for number in range(4):
        effects = node.receive_from_client(1, Watch(0, number, "jobs", 1, "g"), float(number))
        said += [message for _, message in sent(effects, Interest)]
    said += [message for _, message in sent(node.receive_from_client(1, Unwatch(2), 9.0), Interest)]
    one, two, three, four = (Wish("jobs", "g", weight) for weight in (1, 2, 3, 4))
    assert said == [
        Interest(A, 1, 1, (one,)),
        Interest(A, 1, 2, (two,), (one,)),
        Interest(A, 1, 3, (three,), (two,)),
        Interest(A, 1, 4, (four,), (three,)),
        Interest(A, 1, 5, (three,), (four,)),
    ]
    asked = node.receive(1, InterestWanted((A,)), 9.0)
    assert sent(asked, Interest) == [(1, Interest(A, 1, 5, (three,), is_whole=True))]


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


def test_nobody_forges_a_receipt_that_nobody_waits_for() -> None:
    node = linked_node("b")
    assert node.receive(1, Receipt((1, 2, 3)), 0.0) == []
    assert node.receive(1, Receipt((1,), trace=(run_of().trace)), 0.0) == []


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


def test_an_earlier_life_of_a_node_is_forgotten_by_those_it_meets() -> None:
    node = make_node("b")
    effects = node.link_up(1, identity("a"), met("a", is_outbound=False), 0.0)
    node.receive(1, Interest(A, 5, 1, (Wish("news"),)), 0.0)
    del effects
    digest = InterestDigest((InterestState(A, 6, 0),))
    assert sent(node.receive(1, digest, 0.0), InterestWanted) == [(1, InterestWanted((A,)))]
    node.receive(1, Interest(A, 6, 0, (), is_whole=True), 0.0)
    node.client_up(1, 0.0)
    assert answers(node.receive_from_client(1, Post(1, "news", (HI,)), 0.0)) == [[0, 0]]
