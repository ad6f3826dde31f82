"""Dials: due times, full jitter, and never giving up."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from maculaos.discovery.dials import STABLE_AFTER_S, Dials, Phase
from maculaos.settings import LinkSettings

SETTINGS = LinkSettings()


def dials(limit: int = 10, seed: int = 1) -> Dials:
    rng = random.Random(seed)  # a seed replays the run
    return Dials(SETTINGS, limit, rng)


def test_an_address_is_dialled_when_due_and_once() -> None:
    book = dials()
    book.want("a:1", due=5.0)
    book.want("a:1", due=9.0)
    assert book.next_deadline() == 5.0
    assert book.take_due(4.9, room=9) == []
    assert book.take_due(5.0, room=9) == ["a:1"]
    assert book.take_due(5.0, room=9) == []
    assert book.phase("a:1") is Phase.DIALLING


@given(st.integers(1, 40), st.integers())
def test_waits_stay_below_their_ceiling_and_never_end(failures: int, seed: int) -> None:
    book, now = dials(seed=seed), 0.0
    book.want("a:1", due=now)
    for number in range(1, failures + 1):
        assert book.take_due(now, room=1) == ["a:1"]
        assert book.failed("a:1", now) == number
        assert now < book.next_deadline() <= now + SETTINGS.reconnect_ceiling_s(number)
        now = book.next_deadline()


def test_a_dial_without_outcome_is_given_up_and_tried_again() -> None:
    book = dials()
    book.want("a:1", due=0.0)
    book.take_due(0.0, room=1)
    given_up_at = book.next_deadline()
    assert given_up_at == 2 * SETTINGS.handshake_timeout_s
    assert book.take_due(given_up_at, room=1) == []
    assert book.take_due(book.next_deadline(), room=1) == ["a:1"]


def test_a_linked_address_is_not_dialled_until_the_link_is_lost() -> None:
    book = dials()
    book.want("a:1", due=0.0)
    book.linked("a:1", now=0.0)
    book.want("a:1", due=1.0)
    assert book.next_deadline() == math.inf
    book.lost("a:1", now=100.0)
    assert 100.0 < book.next_deadline() <= 100.0 + SETTINGS.reconnect_ceiling_s(1)


def test_a_link_that_does_not_last_keeps_the_wait_growing() -> None:
    def failures_after(lasted_s: float) -> int:
        book = dials()
        book.want("a:1", due=0.0)
        for _ in range(5):
            book.take_due(book.next_deadline(), room=1)
            book.failed("a:1", now=1.0)
        book.linked("a:1", now=50.0)
        book.lost("a:1", now=50.0 + lasted_s)
        book.take_due(book.next_deadline(), room=1)
        return book.failed("a:1", now=200.0)

    assert failures_after(STABLE_AFTER_S) == 2
    assert failures_after(STABLE_AFTER_S / 2) == 7


def test_without_room_nobody_is_dialled_and_nobody_forgotten() -> None:
    book = dials()
    book.want("a:1", due=0.0)
    book.want("b:1", due=0.0)
    assert book.take_due(0.0, room=1) == ["a:1"]
    later = book.next_deadline()
    assert later > 0.0
    assert book.take_due(later, room=1) == ["b:1"]


def test_the_address_that_failed_most_makes_room() -> None:
    book = dials(limit=2)
    book.want("bad:1", due=0.0)
    book.take_due(0.0, room=1)
    book.failed("bad:1", now=0.0)
    book.want("b:1", due=9.0)
    book.want("c:1", due=9.0)
    assert [address in book for address in ("bad:1", "b:1", "c:1")] == [False, True, True]


def test_a_failure_that_nobody_waits_for_changes_nothing() -> None:
    book = dials()
    assert book.failed("a:1", now=0.0) == 0
    book.want("a:1", due=3.0)
    assert book.failed("a:1", now=0.0) == 0
    assert book.next_deadline() == 3.0
