"""Suspicions know their deadlines: each further accuser brings them nearer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.swim.rumour import NOBODY
from maculaos.swim.suspicion import Patience, Suspicions

ONE, OTHER = NodeId(b"1" * 32), NodeId(b"2" * 32)
ACCUSERS = [NodeId(bytes([number]) * 32) for number in range(10)]
FIXED = Patience(3.0, 3.0, 0)


@given(st.floats(0.1, 100.0), st.floats(1.0, 10.0), st.integers(0, 9), st.integers(0, 20))
def test_more_confirmations_never_prolong_a_suspicion(
    shortest_s: float, factor: float, wanted: int, confirmations: int
) -> None:
    patience = Patience(shortest_s, shortest_s * factor, wanted)
    now, then = patience.timeout_s(confirmations), patience.timeout_s(confirmations + 1)
    assert shortest_s <= then <= now + 1e-9 <= shortest_s * factor + 1e-6


@pytest.mark.parametrize(("confirmations", "expected_s"), [(0, 30.0), (1, 15.0), (3, 0.0)])
def test_the_timeout_is_that_of_lifeguard(confirmations: int, expected_s: float) -> None:
    assert Patience(0.0, 30.0, 3).timeout_s(confirmations) == pytest.approx(expected_s)


def test_a_suspect_that_is_not_cleared_expires_at_its_deadline() -> None:
    suspicions = Suspicions(limit=9)
    suspicions.start(ONE, 0, NOBODY, FIXED, now=10.0)
    suspicions.start(OTHER, 0, NOBODY, FIXED, now=11.0)
    assert suspicions.next_deadline() == 13.0
    assert suspicions.expired(12.9) == ()
    assert suspicions.expired(13.0) == (ONE,)
    suspicions.clear(ONE)
    suspicions.clear(OTHER)
    assert suspicions.next_deadline() == math.inf


def test_accusers_count_once_and_for_one_incarnation_only() -> None:
    suspicions = Suspicions(limit=9)
    suspicions.start(ONE, 4, ACCUSERS[0], Patience(2.0, 8.0, 1), now=0.0)
    assert not suspicions.second(ONE, 4, ACCUSERS[0])
    assert not suspicions.second(ONE, 3, ACCUSERS[1])
    assert not suspicions.second(ONE, 4, NOBODY)
    assert suspicions.next_deadline() == 8.0
    assert suspicions.second(ONE, 4, ACCUSERS[1])
    assert suspicions.next_deadline() == 2.0
    # Enough is enough: nobody is told of a third.
    assert not suspicions.second(ONE, 4, ACCUSERS[2])


def test_an_accuser_of_too_many_is_found_out_and_forgiven() -> None:
    suspicions = Suspicions(limit=3)
    for target in ACCUSERS[1:4]:
        assert not suspicions.is_too_suspicious(ACCUSERS[0])
        suspicions.start(target, 0, ACCUSERS[0], FIXED, now=0.0)
    assert suspicions.is_too_suspicious(ACCUSERS[0])
    assert not suspicions.is_too_suspicious(NOBODY)
    suspicions.clear(ACCUSERS[1])
    assert not suspicions.is_too_suspicious(ACCUSERS[0])


def test_a_new_incarnation_is_suspected_anew() -> None:
    suspicions = Suspicions(limit=9)
    suspicions.start(ONE, 0, ACCUSERS[0], FIXED, now=0.0)
    suspicions.start(ONE, 1, ACCUSERS[0], FIXED, now=2.0)
    assert suspicions.count_begun(ACCUSERS[0]) == 1
    assert suspicions.expired(3.0) == ()
    assert suspicions.expired(5.0) == (ONE,)


def test_postponing_gives_every_suspect_more_time() -> None:
    suspicions = Suspicions(limit=9)
    suspicions.start(ONE, 0, NOBODY, FIXED, now=10.0)
    suspicions.postpone(5.0)
    assert ONE in suspicions
    assert suspicions.next_deadline() == 18.0
