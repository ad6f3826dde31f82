"""Laws of the ledger: nothing twice, nothing lost, and patience with whoever takes nothing."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from reconciler.convergence import Backoff
from reconciler.notices.ledger import (
    LONGEST_QUIET_S,
    MOST_TRIES,
    Ledger,
    NotTold,
    Told,
    decode_told,
    encode_told,
)
from reconciler.notices.notice import Notice, State

BACKOFF = Backoff(base_s=1.0, max_s=60.0)


def ledger() -> Ledger:
    return Ledger(BACKOFF, Random(1))


def notice(letter: str, finished_at: float | None = None) -> Notice:
    state = State.PENDING if finished_at is None else State.SUCCESS
    return Notice(revision=letter * 40, state=state, text="", finished_at=finished_at)


def test_what_was_told_is_not_told_again_and_news_is() -> None:
    one, wanted = ledger(), (notice("a"),)
    assert one.due(wanted, 0.0) == wanted[0]
    one.succeeded(wanted[0], wanted, 0.0)
    assert one.due(wanted, 1e9) is None
    assert one.due((notice("a", 1.0),), 0.0) is not None


def test_target_that_is_away_is_left_alone_and_told_the_newest_first() -> None:
    one, wanted = ledger(), (notice("b"), notice("a"))
    for _ in range(50):
        one.failed(wanted[0], NotTold("away"), 0.0)
        assert 0.0 <= one.retry_at <= BACKOFF.max_s
    one.retry_at = 10.0
    assert one.due(wanted, 9.9) is None
    assert one.due(wanted, 10.0) == wanted[0]
    assert one.waiting(wanted) == 2


def test_target_that_says_when_is_asked_then() -> None:
    one = ledger()
    one.failed(notice("a"), NotTold("busy", wait_s=30.0), 0.0)
    assert one.retry_at == 30.0
    one.failed(notice("a"), NotTold("busy", wait_s=1e9), 0.0)
    assert one.retry_at == BACKOFF.max_s


def test_notice_that_is_taken_ill_is_given_up_alone() -> None:
    one, wanted = ledger(), (notice("a"), notice("b"))
    for _ in range(MOST_TRIES):
        assert one.due(wanted, 1e6) == wanted[0]
        one.failed(wanted[0], NotTold("unknown", is_about_it=True), 0.0)
    assert one.due(wanted, 1e6) == wanted[1]
    assert one.waiting(wanted) == 1
    # Something new about it is tried anew.
    assert one.due((notice("a", 5.0),), 1e6) is not None


def test_flapping_commit_is_spoken_of_ever_more_seldom() -> None:
    one, now, times = ledger(), 0.0, 0
    while now < 3600.0:
        word = notice("a", now)
        if one.due((word,), now) is not None:
            one.succeeded(word, (word,), now)
            times += 1
        now += 1.0
    assert 5 <= times <= 40


@given(st.floats(0, 2e9), st.floats(0, 2e9))
def test_clock_that_is_set_back_delays_by_the_longest_wait_at_most(then: float, now: float) -> None:
    one = ledger()
    word = notice("a")
    one.succeeded(word, (word,), then)
    one.failed(notice("a", 1.0), NotTold("away"), then)
    later = min(then, now) + max(LONGEST_QUIET_S, BACKOFF.max_s) + 1.0
    if later >= then:
        assert one.due((notice("a", 1.0),), max(later, one.retry_at)) is not None


def test_ledger_is_bounded_by_what_is_spoken_of() -> None:
    one = ledger()
    for letter in "abcdefgh":
        word = notice(letter)
        one.succeeded(word, (word,), 0.0)
    assert list(one.told) == ["h" * 40]


TOLD = st.builds(Told, mark=st.text(max_size=20), times=st.integers(0, 99), at=st.floats(0, 2e9))


@given(st.dictionaries(st.text(max_size=9), st.dictionaries(st.text(max_size=9), TOLD)))
def test_what_was_told_survives_a_restart(told: dict[str, dict[str, Told]]) -> None:
    assert decode_told(encode_told(told)) == told


@given(st.binary(max_size=100))
def test_torn_file_is_nothing(content: bytes) -> None:
    assert isinstance(decode_told(content), dict)
