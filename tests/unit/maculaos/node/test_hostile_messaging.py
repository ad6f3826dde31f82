"""Members, clients and programs that abuse messaging: bounds hold, and the innocent keep links."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from msgspec import Raw, msgpack, structs

from bare_node import HI, closed, counter, linked_node, sent
from eventful_node import LOTS, A, B, C, answers, deliveries, run_of, wanting, watching
from maculaos.identity import NodeId
from maculaos.node.routing import MAX_HOPS
from maculaos.node.traces import MAX_TRACE
from maculaos.pubsub.arrivals import Arrivals, Standing
from maculaos.wire.events import (
    MAX_TIME_MS,
    TARGET_SIZE,
    Events,
    Hop,
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
from maculaos.wire.frames import Frame, FrameError
from maculaos.wire.messages import (
    Heartbeat,
    Rumour,
    decode_message,
    encode_message,
)
from maculaos.wire.registry import MessageType, RpcErrorCode
from maculaos.wire.table import Routed, Seal
from maculaos.wire.values import MAX_VALUE_SIZE, encode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from maculaos.node import Node

LAST = (1 << 62) - 1
MOST = (1 << 64) - 1


class Steps:
    """How often something was called or returned."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, *_: object) -> None:
        self.count += 1


@contextmanager
def counted() -> Iterator[Steps]:
    """Count while that lasts: time would depend on the machine."""
    steps = Steps()
    sys.setprofile(steps.take)
    try:
        yield steps
    finally:
        sys.setprofile(None)


def fakes(count: int) -> tuple[bytes, ...]:
    """Ids of nodes that there are not."""
    return tuple(number.to_bytes(32) for number in range(count))


def test_a_run_of_nothing_that_is_to_be_retained_costs_its_sender_the_link() -> None:
    node = watching("b")
    assert closed(node.receive(1, Events("news.x", B, 5, (), retain_ms=500), 1.0))


@pytest.mark.parametrize("sequence", [-1, LAST + 1, MOST])
def test_numbers_that_could_not_be_written_any_more_are_refused(sequence: int) -> None:
    node = watching("b")
    assert closed(node.receive(1, run_of(sequence=sequence), 1.0))


def test_a_run_too_large_for_a_frame_of_its_subscriber_is_refused() -> None:
    large = Raw(encode_value("x" * (MAX_VALUE_SIZE - 5)))
    run = Events("news.x", B, 5, (large,))
    assert decoded([*structs.astuple(run)]) == run
    with pytest.raises(FrameError):
        decoded([*structs.astuple(structs.replace(run, payloads=(large, HI)))])


def test_a_trace_that_is_too_long_is_dropped_and_costs_nobody_a_link() -> None:
    node = watching("b", "c")
    for trace in ((Hop(B, 1),) * MAX_TRACE, (Hop(b"x" * 5000, 1),)):
        run = Events("news.x", B, 5, (), A[:8] + C[:8], MAX_HOPS, trace=trace)
        assert node.receive(1, run, 1.0) == []


def test_a_client_cannot_end_the_node_by_a_trace_of_no_priority() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news.*"))
    for post in (
        Post(7, "news.x", (), priority=9, is_trace=True),
        Post(7, "news.x", (), ttl_ms=MAX_TIME_MS + 1, is_trace=True),
        Post(7, "news.x", (), ttl_ms=-1, is_trace=True),
    ):
        effects = node.receive_from_client(1, post, 1.0)
        assert answers(effects) == [RpcErrorCode.INVALID_REQUEST]


def test_targets_that_are_not_there_share_one_copy() -> None:
    node = linked_node("b", "c", "d")
    targets = b"".join(each[-TARGET_SIZE:] for each in fakes(1000))
    effects = node.receive(1, run_of(targets=targets, hops=MAX_HOPS), 1.0)
    assert len(sent(effects, Events)) == 1


def test_what_is_remembered_by_publisher_is_of_living_members_only() -> None:
    node = watching("b", "c")
    for number, publisher in enumerate(fakes(500)):
        more = {"acknowledge": True, "life": 1} if number % 2 else {"retain_ms": 1000}
        run = Events("news.x", publisher, 5, (HI,), A[:8], 9, **more)  # type: ignore[arg-type]
        assert node.receive(1, run, 1.0) == []
    assert counter(node, "events_dropped") == 500
    # A member's run over others is taken.
    member = Events("news.x", C, 5, (HI,), A[:8], 9, acknowledge=True, life=1)
    assert len(deliveries(node.receive(1, member, 1.0))) == 1


def test_a_retained_event_does_not_keep_the_frame_that_it_came_in() -> None:
    node = watching("b")
    assert held_by(node, lambda number: Events("news.x", B, 2 * number, (JUNK, HI))) < 1_000_000
    many = held_by(
        node, lambda number: Events(f"news.{number}", B, 2 * number, (JUNK, HI), retain_ms=5000)
    )
    assert many < 1_000_000


def test_a_payload_does_not_keep_a_frame_that_is_mostly_waste() -> None:
    wide = [*structs.astuple(Events("news.x", B, 5, (HI,))), JUNK]
    tracemalloc.start()
    try:
        held = [decoded(wide) for _ in range(20)]
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < len(JUNK)
    finally:
        tracemalloc.stop()
    assert [each.payloads for each in held] == [(HI,)] * 20


def test_a_program_that_confirms_nothing_is_given_no_more_at_some_point() -> None:
    node = linked_node("b", client_queue_bytes=100_000)
    node.receive_from_client(1, Watch(0, 1, "news.x", LOTS), 0.0)
    handed = [
        found
        for number in range(500)
        for found in deliveries(node.receive(1, acknowledged(number), 1.0))
    ]
    assert 200 < len(handed) < 400
    # It says what it took, and the publisher hears that there is room.
    numbers = tuple(each.number for _, each in handed)
    effects = node.receive_from_client(1, Taken(1, 0, numbers), 2.0)
    assert (1, ()) in [
        (link, each.sequences) for link, each in sent(effects, Receipt) if isinstance(each, Receipt)
    ]
    assert len(deliveries(node.receive(1, acknowledged(len(handed)), 2.0))) == 1


def acknowledged(number: int) -> Events:
    """One of many acknowledged runs, each after the one before."""
    after = number if number else 0
    return Events("news.x", B, number + 1, (HI,), acknowledge=True, after=after, life=1)


def test_a_program_that_goes_with_much_unconfirmed_costs_little_time() -> None:
    node = linked_node("b")
    for number in range(3000):
        node.receive_from_client(1, Watch(0, number, f"t.{number}", LOTS), 0.0)
    node.receive_from_client(1, Watch(0, 9999, "news.x", LOTS), 0.0)
    for number in range(1000):
        node.receive(1, acknowledged(number), 1.0)
    with counted() as steps:
        node.client_down(1, 2.0)
    # Not as many as subscriptions times runs.
    assert steps.count < 1_000_000


def test_a_publisher_of_many_groups_makes_no_other_be_forgotten() -> None:
    arrivals = Arrivals(limit=5000)
    honest = (NodeId(C), "", 2)
    arrivals.accept(honest, 1, 7)
    for number in range(20_000):
        arrivals.accept((NodeId(B), f"g{number}", 2), 1, 1)
    assert arrivals.judge(honest, 1, 7, 8) is Standing.NEXT
    assert arrivals.judge(honest, 1, 0, 7) is Standing.UNDER_WAY
    arrivals.forget(NodeId(C))
    assert arrivals.judge(honest, 1, 7, 8) is Standing.GAP


def test_nobody_confirms_a_run_in_the_name_of_another() -> None:
    node = linked_node("b")
    node.receive(1, Heartbeat((Rumour(C, "c", ("127.0.0.1:4703",), 0, 0),)), 0.0)
    node.receive(1, Interest(C, 1, 1, (Wish("news.x"),)), 0.0)
    effects = node.receive_from_client(1, Post(7, "news.x", (HI,), acknowledge=True), 1.0)
    ((_, run),) = sent(effects, Events)
    assert isinstance(run, Events)
    for forged in (Receipt((run.sequence,)), Receipt((), through=MOST)):
        frame = encode_message(forged)
        for seal in (None, Seal(1, 1, 1000, 0, (), bytes(32), bytes(64))):
            assert answers(node.receive(1, Routed(A, C, 9, frame, seal), 1.0)) == []
    assert node.receive(1, Receipt((run.sequence,)), 1.0) == []


def test_a_receipt_that_refuses_many_runs_sends_the_others_again_once() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news.x"))
    for _ in range(300):
        node.receive_from_client(1, Post(1, "news.x", (HI,), acknowledge=True), 1.0)
    ((_, run),) = sent(
        node.receive_from_client(1, Post(1, "news.x", (HI,), acknowledge=True), 1.0), Events
    )
    assert isinstance(run, Events)
    lost = tuple(range(run.sequence - 200, run.sequence))
    refused = Receipt(lost, int(RpcErrorCode.PROVIDER_LOST))
    assert len(sent(node.receive(1, refused, 1.1), Events)) <= 301


def test_a_subscriber_that_comes_back_often_is_sent_what_is_open_seldom() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news.x"))
    for _ in range(100):
        node.receive_from_client(1, Post(1, "news.x", (HI,), acknowledge=True), 1.0)
    again = 0
    for number in range(2, 102):
        word = Interest(B, 1, number, (Wish(f"t{number}"),))
        again += len(sent(node.receive(1, word, 1.1), Events))
    assert again <= 100


def test_a_node_in_whose_name_others_speak_answers_all_once_a_second() -> None:
    node = watching("b", "c", "d")
    told_all = 0
    for number in range(1000):
        told_all += len(sent(node.receive(1, Interest(A, 5 + 2 * number, 1, ()), 1.0), Interest))
    many = InterestDigest(tuple(InterestState(A, 10_000 + each, 1) for each in range(1000)))
    told_all += len(sent(node.receive(1, many, 1.0), Interest))
    assert told_all == 3
    # The last of them is not forgotten.
    assert node.next_deadline() <= 2.0
    after = sent(node.advance(2.0), Interest)
    assert len(after) == 3
    assert all(isinstance(each, Interest) and each.life > 10_999 for _, each in after)


def test_a_life_at_the_end_of_all_numbers_does_not_make_the_node_say_more() -> None:
    node = watching("b")
    effects = node.receive(1, Interest(A, LAST, LAST - 1, ()), 1.0)
    for number in range(3):
        effects += node.receive_from_client(1, Watch(0, 50 + number, f"t{number}", 1), 2.0 + number)
    words = [each for _, each in sent(effects, Interest)]
    assert words
    assert all(isinstance(each, Interest) for each in words)
    assert all(max(each.life, each.version) <= LAST for each in words if isinstance(each, Interest))


def test_who_asks_for_one_whole_a_thousand_times_is_told_once() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", *(Wish(f"t{number}") for number in range(100)))
    effects = node.receive(1, InterestWanted((B,) * 1000), 1.0)
    assert len(sent(effects, Interest)) == 1


def test_wholes_are_counted_by_what_they_hold() -> None:
    node = linked_node("b", subscriptions=1000)
    wanting(node, 1, "b", *(Wish(f"t{number}") for number in range(1000)))
    told_wishes = 0
    for _ in range(50):
        for _, each in sent(node.receive(1, InterestWanted((B,)), 1.0), Interest):
            assert isinstance(each, Interest)
            told_wishes += len(each.added)
    assert told_wishes <= 4000
    assert sent(node.receive(1, InterestWanted((B,)), 2.0), Interest)


def test_taking_back_what_nobody_said_makes_no_room() -> None:
    node = linked_node("b", subscriptions=100)
    junk = tuple(Wish(f"x{number}") for number in range(1000))
    for version in range(1, 4):
        added = tuple(Wish(f"t{version}.{number}") for number in range(60))
        node.receive(1, Interest(B, 1, version, added, junk), 0.0)
    assert counter(node, "interest_refused") == 1


def test_the_interest_of_one_node_fits_a_frame() -> None:
    node = linked_node("b")
    for version in range(1, 15):
        added = tuple(Wish(f"{version}.{number}".ljust(250, "x")) for number in range(3000))
        node.receive(1, Interest(B, 1, version, added), 0.0)
    ((_, whole),) = sent(node.receive(1, InterestWanted((B,)), 1.0), Interest)
    assert len(encode_message(whole)) < MAX_VALUE_SIZE


def test_words_that_change_nothing_leave_plans_as_they_are() -> None:
    node = linked_node("b")
    wanting(node, 1, "b", Wish("news.x"))
    plans = node._cores.messaging.plans  # nothing else shows work that was saved
    before = plans.plan("news.x")
    node.receive(1, Interest(B, 1, 1, (Wish("news.x"),)), 1.0)
    assert plans.plan("news.x") is before
    wanting(node, 1, "b", Wish("news.*"), version=2)
    assert plans.plan("news.x") is not before


def test_one_node_has_a_bounded_share_of_a_group_however_many_patterns_it_names() -> None:
    node = linked_node("b", "c")
    patterns = ("a.b", "a.*", "*.b", "*.*", "**", "a.**")
    wishes = [Wish(pattern, "g", weight) for pattern in patterns for weight in range(1, 65)]
    wanting(node, 1, "b", *wishes)
    wanting(node, 2, "c", Wish("a.b", "g"))
    payloads = tuple(encode_value(number) for number in range(130))
    effects = node.receive_from_client(1, Post(1, "a.b", payloads), 0.0)
    runs = [(link, run) for link, run in sent(effects, Events) if isinstance(run, Events)]
    assert sum(len(run.payloads) for link, run in runs if link == 2) >= 1


def test_many_new_wishes_are_compared_with_retained_topics_in_one_walk() -> None:
    node = linked_node("b")
    for number in range(200):
        node.receive_from_client(1, Post(0, f"r.{number}", (HI,), retain_ms=5000), 0.0)
    wishes = tuple(Wish(f"x{number}.*") for number in range(5000))
    with counted() as steps:
        effects = node.receive(1, Interest(B, 1, 1, (*wishes, Wish("r.*"))), 0.0)
    assert len(sent(effects, Events)) == 200
    assert steps.count < 1_000_000


def test_retained_events_for_one_node_are_bounded_in_a_second() -> None:
    node = linked_node("b")
    for number in range(1000):
        node.receive_from_client(1, Post(0, f"r.{number}", (HI,), retain_ms=5000), 0.0)
    told_of = 0
    for version in range(1, 100, 2):
        on = node.receive(1, Interest(B, 1, version, (Wish("**"),)), 0.0)
        node.receive(1, Interest(B, 1, version + 1, (), (Wish("**"),)), 0.0)
        told_of += len(sent(on, Events))
    assert told_of == 20_000


def test_traced_runs_are_answered_so_often_a_second() -> None:
    node = watching("b")
    told_of = sum(
        len(
            sent(node.receive(1, Events("news.x", B, number, (), trace=(Hop(B, 1),)), 1.0), Receipt)
        )
        for number in range(1000)
    )
    assert told_of == 200


#: Most of a frame, beside something small.
JUNK = encode_value("x" * 200_000)


def decoded(fields: list[object]) -> Events:
    """EVENTS as it comes in."""
    message = decode_message(Frame(MessageType.EVENTS, msgpack.encode(fields)))
    assert isinstance(message, Events)
    return message


def held_by(node: Node, make: Callable[[int], Events]) -> int:
    """The bytes that a node holds more after it heard ten runs, each in a frame of its own."""
    tracemalloc.start()
    try:
        for number in range(1, 11):
            node.receive(1, decoded(list(structs.astuple(make(number)))), 1.0)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
