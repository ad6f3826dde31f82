"""The distributed table in a node: every search ends, and what peers say of it is judged."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.effects import Effect, Send
from maculaos.errors import RemoteProtocolError
from maculaos.kademlia.methods import method_key
from maculaos.kademlia.requests import LookupDone, ValueFound
from maculaos.node.entries import record_to_wire
from maculaos.swim.rumour import Health
from maculaos.wire.table import (
    Contact,
    FindNode,
    FindValue,
    Nodes,
    Record,
    Store,
    Stored,
    Values,
)
from node_parts import cores_of, names, node_id, record_by, rumour, settings_of

if TYPE_CHECKING:
    from maculaos.node.directory import Directory
    from maculaos.wire.messages import Message


def sent(effects: list[Effect]) -> list[tuple[int, Message]]:
    """The messages that leave the node, by link."""
    return [(each.link, each.message) for each in effects if isinstance(each, Send)]


def settled(directory: Directory, now: float = 0.0) -> list[Effect]:
    """Everything that is to be done now."""
    effects: list[Effect] = []
    while directory.is_touched:
        effects += directory.carry(now)
    return effects


def run(directory: Directory, until: float) -> float:
    """Let time pass while nobody answers; return when the first result came."""
    settled(directory)
    while (now := directory.next_deadline()) <= until:
        directory.advance(now)
        settled(directory, now)
        if any(isinstance(each, LookupDone | ValueFound) for each in directory.take_results()):
            return now
    return math.inf


def test_search_of_a_node_that_is_alone_ends_at_once_with_nothing() -> None:
    directory = cores_of().directory
    number = directory.find_node(node_id("m1"), 0.0)
    assert settled(directory) == []
    (done,) = directory.take_results()
    assert isinstance(done, LookupDone)
    assert (done.number, done.contacts, done.is_complete) == (number, (), True)
    assert directory.take_results() == []
    assert directory.next_deadline() == math.inf


def test_search_ends_though_nobody_answers() -> None:
    directory = cores_of(linked=names(4)).directory
    settled(directory)
    directory.take_results()
    directory.find_method("add", 0.0)
    assert run(directory, until=60.0) < 60.0


def test_search_ends_though_the_last_contact_dies_meanwhile() -> None:
    directory = cores_of(linked=("m1",)).directory
    settled(directory)
    directory.take_results()
    directory.find_node(node_id("m1"), 0.0)
    settled(directory)
    dead = rumour("m1", Health.DEAD)
    directory.member_changed(rumour("m1"), dead, 0.1)
    assert run(directory, until=60.0) < 60.0


def test_question_to_a_member_without_a_way_fails_at_once() -> None:
    directory = cores_of(known=("m1", "m2")).directory
    settled(directory)
    directory.take_results()
    directory.find_node(node_id("m1"), 0.0)
    assert settled(directory) == []
    assert any(isinstance(each, LookupDone) for each in directory.take_results())


def test_question_is_answered_to_who_asked() -> None:
    cores = cores_of(linked=("m1", "m2"))
    settled(cores.directory)
    cores.directory.receive(node_id("m2"), FindNode(7, bytes(32)), 0.0)
    ((link, answer),) = sent(settled(cores.directory))
    assert link == 2
    assert isinstance(answer, Nodes)
    assert answer.request == 7
    assert [each.node_id for each in answer.contacts] == [node_id("m1")]


def test_record_is_held_and_told_to_who_asks_for_it() -> None:
    directory = cores_of(linked=("m1", "m2")).directory
    settled(directory)
    record = record_to_wire(record_by("m1", method_key("add")))
    directory.receive(node_id("m1"), Store(1, record), 0.0)
    assert sent(settled(directory)) == [(1, Stored(1, 0))]
    directory.receive(node_id("m2"), FindValue(2, method_key("add")), 0.0)
    ((_, answer),) = sent(settled(directory))
    assert isinstance(answer, Values)
    assert answer.records == (record,)


def test_forged_record_is_not_held() -> None:
    directory = cores_of(linked=("m1", "m2")).directory
    settled(directory)
    forged = replace(record_by("m2", method_key("add")), publisher=node_id("m1"))
    directory.receive(node_id("m2"), Store(1, record_to_wire(forged)), 0.0)
    ((_, stored),) = sent(settled(directory))
    assert isinstance(stored, Stored)
    assert stored.verdict != 0
    assert directory.kademlia.gauges().records == 0


# What a node asks while it joins has small numbers, and is waited for.
UNASKED = st.integers(1_000, 1 << 40)
STRANGER = Contact(node_id("fake"), ("10.0.0.1:1",))
GOOD: Record = record_to_wire(record_by("m1", method_key("add")))


@pytest.mark.parametrize(
    "rubbish",
    [
        Nodes(1, (Contact(bytes(32), ()),) * 65),
        Nodes(1, (Contact(b"short", ()),)),
        Nodes(1, (Contact(bytes(32), ("x" * 260,)),)),
        Nodes(1, (Contact(bytes(32), ("10.0.0.1:1",) * 9),)),
        Values(1, (GOOD,) * 257, ()),
        Values(1, (), (Contact(b"", ()),)),
        Stored(1, 99),
        Store(1, Record(b"", 1, b"", bytes(32), 1, 1, 1, b"", b"")),
        Store(1, Record(bytes(32), 999, b"", bytes(32), 1, 1, 1, b"", b"")),
        Store(1, Record(bytes(32), 1, b"", bytes(32), -1, 1, 1, b"", b"")),
        Store(1, Record(bytes(32), 1, bytes(9_000), bytes(32), 1, 1, 1, b"", b"")),
    ],
)
def test_rubbish_is_refused_whole(rubbish: Nodes | Values | Stored | Store) -> None:
    directory = cores_of(linked=("m1",)).directory
    settled(directory)
    before = directory.kademlia.gauges()
    with pytest.raises(RemoteProtocolError):
        directory.receive(node_id("m1"), rubbish, 0.0)
    assert sent(settled(directory)) == []
    assert directory.kademlia.gauges() == before


@given(
    st.one_of(
        st.builds(Nodes, UNASKED, st.just((STRANGER,))),
        st.builds(Values, UNASKED, st.just((GOOD,)), st.just((STRANGER,))),
        st.builds(Stored, UNASKED, st.just(0)),
    )
)
def test_answer_that_nobody_asked_for_changes_nothing(answer: Nodes | Values | Stored) -> None:
    directory = cores_of(linked=("m1",)).directory
    settled(directory)
    directory.take_results()
    before = directory.kademlia.gauges()
    directory.receive(node_id("m1"), answer, 0.0)
    assert settled(directory) == []
    assert directory.take_results() == []
    assert directory.kademlia.gauges() == before


def test_liar_that_answers_with_ever_new_strangers_does_not_keep_a_search_going() -> None:
    directory = cores_of(linked=("m1", "m2")).directory
    rng, asked = random.Random(1), 0  # a seed replays the run
    settled(directory)
    directory.take_results()
    directory.find_node(node_id("m9"), 0.0)
    now = 0.0
    while now < 60.0:
        for _, question in sent(settled(directory, now)):
            assert isinstance(question, FindNode)
            asked += 1
            lies = tuple(Contact(rng.randbytes(32), ("10.0.0.1:1",)) for _ in range(64))
            directory.receive(node_id("m1"), Nodes(question.request, lies), now)
        if directory.is_touched:
            continue
        now = min(directory.next_deadline(), now + 1.0)
        directory.advance(now)
    assert asked < 50
    # Strangers that somebody tells of are no contacts: membership vouches for those.
    assert directory.kademlia.gauges().contacts == 2
    assert directory.kademlia.gauges().lookups == 0


def test_last_word_about_the_own_methods_counts() -> None:
    directory = cores_of(linked=("m1",)).directory
    directory.announce((), ("add",))
    directory.withdraw((), ("add",))
    settled(directory)
    assert directory.kademlia.gauges().publications == 0
    directory.withdraw(("news",), ())
    directory.announce(("news",), ("add",))
    settled(directory)
    assert directory.kademlia.gauges().publications == 2


def test_node_that_offers_more_than_it_may_publish_goes_on() -> None:
    settings = settings_of()
    settings = replace(settings, kademlia=replace(settings.kademlia, publications=3))
    directory = cores_of(linked=("m1",), settings=settings).directory
    directory.announce((), tuple(f"m{number}" for number in range(9)))
    settled(directory)
    assert directory.kademlia.gauges().publications == 3


def test_member_that_is_gone_is_no_contact_any_more() -> None:
    directory = cores_of(linked=("m1",), known=("m2",)).directory
    assert directory.kademlia.gauges().contacts == 2
    directory.member_changed(rumour("m2"), rumour("m2", Health.DEAD), 1.0)
    assert directory.kademlia.gauges().contacts == 1
    directory.member_changed(rumour("m2", Health.DEAD), rumour("m2", incarnation=1), 2.0)
    assert directory.kademlia.gauges().contacts == 2
