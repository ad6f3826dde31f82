"""The decider of one node: who enters its table, what it answers, and what it refuses."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from kademlia_parts import contact_at, contacts_at, record_of
from maculaos.kademlia.kademlia import Kademlia
from maculaos.kademlia.publications import CannotPublish
from maculaos.kademlia.record import Kind
from maculaos.kademlia.requests import (
    AnswerNode,
    AnswerPing,
    AnswerStore,
    AnswerValue,
    AskNode,
    AskPing,
    AskStore,
    AskValue,
    LookupDone,
    Output,
    RecordPlaced,
    ValueFound,
)
from maculaos.kademlia.settings import KademliaSettings
from maculaos.kademlia.store import Verdict
from simulation.lookups import notary_of

if TYPE_CHECKING:
    from maculaos.kademlia.contact import Contact

T = TypeVar("T")
KEY = (1).to_bytes(32)


def node_at(position: int = 1 << 200, **settings: Any) -> Kademlia:
    me = contact_at(position, "10.0.0.9:1")
    chosen = KademliaSettings(**settings)
    return Kademlia(me, notary_of(me.node_id), chosen, random.Random(1), 0.0)


def joined(others: list[Contact], **settings: Any) -> Kademlia:
    """A node that has met these, with its first lookups over."""
    node = node_at(**settings)
    for other in others:
        node.see(other, 0.0)
    run_dry(node)
    return node


def run_dry(node: Kademlia, now: float = 0.0) -> list[Output]:
    """Answer with nothing whatever it asks, until it asks no more; everything it put out."""
    everything: list[Output] = []
    while outputs := node.outputs():
        everything += outputs
        for output in outputs:
            match output:
                case AskNode(number, contact):
                    node.receive_nodes(contact, number, [], now)
                case AskValue(number, contact):
                    node.receive_values(contact, number, ([], []), now)
                case AskStore(number, contact):
                    node.receive_stored(contact, number, Verdict.STORED, now)
                case AskPing(number, contact):
                    node.receive_pong(contact, number, now)
    return everything


def of(kind: type[T], outputs: list[Output]) -> list[T]:
    return [output for output in outputs if isinstance(output, kind)]


def test_the_first_contact_is_the_way_in() -> None:
    node = node_at()
    node.see(contact_at(4), 0.0)
    (ask,) = node.outputs()
    assert ask == AskNode(1, contact_at(4), node.me.node_id)
    node.receive_nodes(contact_at(4), 1, contacts_at([5]), 0.0)
    asked = [output.contact.position for output in of(AskNode, run_dry(node))]
    # Then it fills the buckets; whom it only heard of it asks, too.
    assert 5 in asked


def test_hearsay_enters_no_table_before_it_answered_itself() -> None:
    node = node_at()
    node.see(contact_at(4), 0.0)
    node.outputs()
    node.receive_nodes(contact_at(4), 1, contacts_at([5, 6]), 0.0)
    assert [contact.position for contact in node.table] == [4]
    ask = of(AskNode, node.outputs())[0]
    node.receive_nodes(ask.contact, ask.number, [], 0.0)
    assert [contact.position for contact in node.table] == [4, ask.contact.position]


def test_answers_name_the_closest_but_never_the_asker() -> None:
    node = joined(contacts_at([4, 5, 6]))
    node.receive_find_node(contact_at(4), 77, (5).to_bytes(32), 1.0)
    (answer,) = of(AnswerNode, node.outputs())
    assert (answer.to, answer.number) == (contact_at(4).node_id, 77)
    assert [contact.position for contact in answer.contacts] == [5, 6]


def test_a_dead_contact_is_passed_over_when_slow_and_dropped_at_the_deadline() -> None:
    others = contacts_at([4, 5, 6, 7])
    node = joined(others, alpha=1)
    node.find_node(bytes(32), 10.0)
    (first,) = of(AskNode, node.outputs())
    assert first.contact.position == 4
    assert node.next_deadline() == 10.5
    node.advance(10.5)
    # What was lost on the way is asked for once more, and somebody else meanwhile.
    again, second = of(AskNode, node.outputs())
    assert again == replace(first, is_again=True)
    assert second.contact.position == 5
    node.receive_nodes(second.contact, second.number, [], 10.6)
    run_dry(node, 10.7)
    assert node.next_deadline() == 12.0
    node.advance(12.0)
    (done,) = of(LookupDone, node.outputs())
    assert [contact.position for contact in done.contacts] == [5, 6, 7]
    assert done.is_complete
    assert node.table.get(4) is None


def test_a_request_that_cannot_be_sent_fails_at_once() -> None:
    node = joined(contacts_at([4]))
    number = node.find_node(bytes(32), 1.0)
    (ask,) = of(AskNode, node.outputs())
    node.failed(ask.number, 1.0)
    assert of(LookupDone, node.outputs()) == [LookupDone(number, bytes(32), (), 0, 1, True)]


def test_an_answer_of_somebody_else_is_a_stray() -> None:
    node = joined(contacts_at([4]))
    node.find_node(bytes(32), 1.0)
    (ask,) = of(AskNode, node.outputs())
    before = node.counters.strays
    node.receive_nodes(contact_at(5), ask.number, contacts_at([6]), 1.0)
    node.receive_stored(contact_at(4), ask.number, Verdict.STORED, 1.0)
    assert node.counters.strays == before + 2
    assert not of(LookupDone, node.outputs())


def test_a_ping_is_answered_and_a_full_bucket_asks_for_life() -> None:
    node = joined(contacts_at([4, 5]), k=1)
    assert [contact.position for contact in node.table] == [4]
    node.receive_ping(contact_at(6), 9, 100.0)
    outputs = node.outputs()
    assert AnswerPing(contact_at(6).node_id, 9) in outputs
    (ping,) = of(AskPing, outputs)
    node.failed(ping.number, 100.0)
    assert [contact.position for contact in node.table] == [6]


def test_who_is_known_to_be_gone_is_forgotten_at_once() -> None:
    node = joined(contacts_at([4, 5]))
    node.gone(contact_at(4).node_id, 1.0)
    assert [contact.position for contact in node.table] == [5]


def test_a_published_record_goes_to_the_closest_and_is_said_again_with_a_new_sequence() -> None:
    node = joined(contacts_at([4, 5]))
    record = node.publish(Kind.TOPIC, KEY, b"v", 10.0)
    outputs = run_dry(node, 10.0)
    assert {ask.contact.position for ask in of(AskStore, outputs)} == {4, 5}
    # Itself is one of the closest, too.
    assert of(RecordPlaced, outputs) == [RecordPlaced(KEY, record.sequence, 3)]
    assert node.custody.store.records(KEY) == [record]
    node.advance(10.0 + 1200.0)
    again = of(AskStore, run_dry(node, 1210.0))
    newer = [ask.contact.position for ask in again if ask.record.sequence > record.sequence]
    assert sorted(newer) == [4, 5]


def test_what_was_published_before_the_first_contact_is_placed_after_the_join() -> None:
    node = node_at()
    node.publish(Kind.TOPIC, KEY, b"v", 0.0)
    assert of(RecordPlaced, node.outputs())[0].copies == 1
    node.see(contact_at(4), 1.0)
    run_dry(node, 1.0)
    assert node.next_deadline() <= 1.0
    node.advance(1.0)
    stores = of(AskStore, run_dry(node, 1.0))
    assert {ask.contact.position for ask in stores} == {4}


def test_a_withdrawal_is_placed_and_hides_the_record() -> None:
    node = joined(contacts_at([4]))
    node.publish(Kind.TOPIC, KEY, b"v", 10.0)
    run_dry(node, 10.0)
    assert node.withdraw(KEY, 11.0)
    assert not node.withdraw(KEY, 11.0)
    stores = of(AskStore, run_dry(node, 11.0))
    assert [ask.record.is_withdrawal for ask in stores] == [True]
    node.find_value(KEY, 12.0)
    assert of(ValueFound, run_dry(node, 12.0))[0].records == ()


def test_a_thousand_publications_are_placed_without_nesting() -> None:
    node = node_at()
    for number in range(1024):
        node.publish(Kind.TOPIC, number.to_bytes(32), b"v", 0.0)
    node.see(contact_at(4), 1.0)
    run_dry(node, 1.0)
    for contact in list(node.table):
        node.gone(contact.node_id, 1.0)
    node.advance(1.0)
    assert node.gauges().queued == 0
    with pytest.raises(CannotPublish):
        node.publish(Kind.TOPIC, (5000).to_bytes(32), b"v", 2.0)


@pytest.mark.parametrize("value", [b"", bytes(4097)])
def test_a_value_out_of_bounds_is_not_published(value: bytes) -> None:
    with pytest.raises(CannotPublish):
        node_at().publish(Kind.TOPIC, KEY, value, 0.0)


def test_a_search_for_values_merges_answers_and_gives_the_closest_a_copy() -> None:
    node = joined(contacts_at([1, 2]))
    number = node.find_value(KEY, 1.0)
    outputs = node.outputs()
    asks = {ask.contact.position: ask.number for ask in of(AskValue, outputs)}
    old, new = record_of(8, sequence=1), record_of(8, sequence=2)
    forged = record_of(9, sequence=1, value=b"x")
    forged = replace(forged, value=b"y")
    node.receive_values(contact_at(1), asks[1], ([], []), 1.0)
    node.receive_values(contact_at(2), asks[2], ([old, new, forged], []), 1.0)
    outputs = node.outputs()
    assert of(ValueFound, outputs)[0].records == (new,)
    assert of(ValueFound, outputs)[0].number == number
    assert [(ask.contact.position, ask.record) for ask in of(AskStore, outputs)] == [(1, new)]
    assert node.counters.refused_findings == 1


def test_a_search_that_found_enough_ends_early() -> None:
    node = joined(contacts_at([1, 2, 3, 4, 5]))
    node.find_value(KEY, 1.0, enough=1)
    first = of(AskValue, node.outputs())[0]
    node.receive_values(first.contact, first.number, ([record_of(8)], []), 1.0)
    (found,) = of(ValueFound, node.outputs())
    assert found.records == (record_of(8),)
    assert not found.is_complete


def test_stores_are_judged_and_counted() -> None:
    node = joined(contacts_at([4]))
    good, stale = record_of(8, sequence=2), record_of(8, sequence=1)
    forged = replace(good, publisher=contact_at(9).node_id)
    for record in (good, stale, forged):
        node.receive_store(contact_at(4), 1, record, 1.0)
    verdicts = [answer.verdict for answer in of(AnswerStore, node.outputs())]
    assert verdicts == [Verdict.STORED, Verdict.STALE, Verdict.BAD_SIGNATURE]
    assert node.counters.verdicts[Verdict.BAD_SIGNATURE] == 1
    node.receive_find_value(contact_at(4), 2, KEY, 2.0)
    assert of(AnswerValue, node.outputs())[0].records == (good,)
    # At the end of its life it is gone.
    node.receive_find_value(contact_at(4), 3, KEY, 3600.0)
    assert of(AnswerValue, node.outputs())[0].records == ()


def test_records_are_judged_by_the_wall_clock() -> None:
    node = joined(contacts_at([4]))
    node.set_wall_clock(5000.0, 1.0)
    node.receive_store(contact_at(4), 1, record_of(8, expires_at=4999), 1.0)
    node.receive_store(contact_at(4), 1, record_of(8, expires_at=5010), 1.0)
    verdicts = [answer.verdict for answer in of(AnswerStore, node.outputs())]
    assert verdicts == [Verdict.EXPIRED, Verdict.STORED]
    node.advance(11.0)
    assert node.gauges().records == 0


def test_a_peer_that_asks_too_much_gets_no_answer_until_the_next_second() -> None:
    node = joined(contacts_at([4]), peer_requests=3, peer_stores=1)
    for number in range(5):
        node.receive_store(contact_at(4), number, record_of(8), 5.0)
    verdicts = [answer.verdict for answer in of(AnswerStore, node.outputs())]
    assert verdicts == [Verdict.STORED, Verdict.BUSY, Verdict.BUSY]
    assert node.counters.refused_requests == 2
    node.receive_ping(contact_at(4), 9, 6.0)
    assert len(of(AnswerPing, node.outputs())) == 1


def test_requests_with_keys_of_a_wrong_size_get_no_answer() -> None:
    node = joined(contacts_at([4]))
    node.receive_find_node(contact_at(4), 1, b"short", 1.0)
    node.receive_find_value(contact_at(4), 1, b"", 1.0)
    assert node.outputs() == []


def test_lookups_beyond_the_bound_end_at_once_and_say_that_they_are_incomplete() -> None:
    node = joined(contacts_at([4]), lookups=2)
    for _ in range(3):
        node.find_node(bytes(32), 1.0)
    (refused,) = of(LookupDone, node.outputs())
    assert not refused.is_complete
    assert node.counters.lookups_refused == 1
    assert node.gauges().lookups == 2


def test_requests_beyond_the_bound_are_dropped_and_counted() -> None:
    node = joined(contacts_at([4, 5, 6]), requests=2)
    node.store(record_of(8), 1.0)
    outputs = run_dry(node, 1.0)
    assert len(of(AskStore, outputs)) == 2
    assert node.counters.requests_dropped == 1


def test_a_bucket_without_lookups_is_refreshed_and_its_doubtful_are_asked_again() -> None:
    node = joined(contacts_at([4, 5]))
    node.table.fail(5)
    asked: list[Output] = []
    for now in range(0, 1400, 20):
        node.advance(float(now))
        asked += run_dry(node, float(now))
    assert 5 in [ping.contact.position for ping in of(AskPing, asked)]
    assert node.table.get(5) is not None
    # A node at rest asks little: about one lookup per bucket and interval.
    assert len(of(AskNode, asked)) < 20
