"""Requests: answered once, by whom they were sent to, and in time."""

from __future__ import annotations

import math

from kademlia_parts import contact_at
from maculaos.kademlia.exchanges import Exchanges, Question


def test_only_the_asked_node_answers_and_only_what_was_asked_and_only_once() -> None:
    exchanges = Exchanges(2.0, 0.5)
    number = exchanges.open(Question.NODES, contact_at(1), 7, 0.0)
    assert exchanges.answer(number, Question.NODES, 2) is None
    assert exchanges.answer(number, Question.VALUES, 1) is None
    assert exchanges.answer(number + 1, Question.NODES, 1) is None
    taken = exchanges.answer(number, Question.NODES, 1)
    assert taken is not None
    assert taken.job == 7
    assert exchanges.answer(number, Question.NODES, 1) is None
    assert len(exchanges) == 0


def test_a_request_is_slow_once_and_then_expires() -> None:
    exchanges = Exchanges(2.0, 0.5)
    exchanges.open(Question.PING, contact_at(1), 0, 10.0)
    assert exchanges.next_deadline() == 10.5
    assert exchanges.slow(10.4) == []
    assert len(exchanges.slow(10.5)) == 1
    assert exchanges.slow(11.0) == []
    assert exchanges.next_deadline() == 12.0
    assert exchanges.expire(11.9) == []
    assert len(exchanges.expire(12.0)) == 1
    assert exchanges.next_deadline() == math.inf


def test_deadlines_come_in_the_order_of_sending() -> None:
    exchanges = Exchanges(2.0, 0.5)
    numbers = [exchanges.open(Question.PING, contact_at(1), 0, float(now)) for now in range(5)]
    assert exchanges.take(numbers[0]) is not None
    assert [each.number for each in exchanges.expire(4.0)] == numbers[1:3]
