"""Relays: an answer goes back to who asked, once, and silence is told in time."""

from __future__ import annotations

import math

from maculaos.identity import NodeId
from maculaos.swim.relays import Relay, Relays

ASKER, TARGET = NodeId(b"1" * 32), NodeId(b"2" * 32)


def test_only_the_target_answers_and_only_once() -> None:
    relays, relay = Relays(), Relay(ASKER, 77, TARGET, 1.0)
    relays.open(5, relay)
    assert relays.answer(5, ASKER) is None
    assert relays.answer(5, TARGET) is relay
    assert relays.answer(5, TARGET) is None
    assert relays.next_deadline() == math.inf


def test_a_relay_without_answer_expires_once() -> None:
    relays, relay = Relays(), Relay(ASKER, 77, TARGET, 1.0)
    relays.open(5, relay)
    assert relays.next_deadline() == 1.0
    assert list(relays.expired(0.9)) == []
    assert list(relays.expired(1.0)) == [relay]
    assert list(relays.expired(1.0)) == []


def test_room_for_relays_is_bounded() -> None:
    relays, number = Relays(), 0
    while relays.has_room():
        number += 1
        relays.open(number, Relay(ASKER, number, TARGET, 1.0))
    assert number == len(relays) == 256
