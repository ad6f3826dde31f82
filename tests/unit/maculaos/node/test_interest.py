"""Interest: who wants what is told once, heard once, and mended where something was missed."""

from __future__ import annotations

import pytest

from bare_node import HI, closed, identity, linked_node, make_node, met, sent
from eventful_node import A, B, C, D, answers, wanting, watching
from maculaos.wire.events import (
    Interest,
    InterestDigest,
    InterestState,
    InterestWanted,
    Post,
    Unwatch,
    Watch,
    Wish,
)
from maculaos.wire.registry import ErrorCode


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
        Interest(A, 2**63, 1, ()),
        Interest(A, 1, 2**63, ()),
        Interest(A, 5, -1, ()),
        Interest(C, 2**63, 1, ()),
        InterestDigest((InterestState(A, 2**64 - 1, 1),)),
        InterestDigest((InterestState(b"", 1, 1),)),
        InterestWanted((b"x",)),
    ],
)
def test_who_tells_nonsense_of_interest_loses_the_link(word: Interest) -> None:
    assert closed(linked_node("b").receive(1, word, 0.0)) == [(1, ErrorCode.MALFORMED)]


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
