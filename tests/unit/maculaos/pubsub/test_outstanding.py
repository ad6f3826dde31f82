"""At least once: publisher and target over a lossy network, and the bounds of both."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.identity import NodeId
from maculaos.pubsub.arrivals import Arrivals, Standing
from maculaos.pubsub.outstanding import (
    FIRST_RETRY_S,
    UNDER_WAY_S,
    WINDOW,
    Confirmation,
    Leg,
    Order,
    Outstanding,
    Sending,
)

ANN, BOB = (NodeId(bytes([number]) * 32) for number in (1, 2))
ME = NodeId(bytes(32))


def sending(sequence: int, *, until: float = 30.0, size: int = 10) -> Sending:
    return Sending(sequence, f"run {sequence}", size, until, Confirmation((1, sequence)))


def add(outstanding: Outstanding, sequence: int, *legs: Leg, now: float = 0.0) -> list[Order]:
    return outstanding.add(sending(sequence), legs or [(ANN, "", 2)], now)


def sequences(orders: list[Order]) -> list[int]:
    return [order.sending.sequence for order in orders]


class Target:
    """Takes runs as a node does; it is through with each a little later."""

    def __init__(self, rng: random.Random, refuses: float) -> None:
        self.arrivals = Arrivals(10)
        self.taken: list[int] = []
        self._rng = rng
        self._refuses = refuses

    def hear(self, order: Order) -> str | None:
        sequence = order.sending.sequence
        match self.arrivals.judge((ME, "", 2), 7, order.after, sequence):
            case Standing.TAKEN:
                return "taken"
            case Standing.GAP | Standing.UNDER_WAY:
                return None
        if self._rng.random() < self._refuses:
            return "refused"
        self.arrivals.accept((ME, "", 2), 7, sequence)
        self.taken.append(sequence)
        self.arrivals.taken((ME, "", 2), sequence, 0)
        return "taken"


@given(
    st.integers(0, 2**32),
    st.floats(0.0, 0.6),
    st.floats(0.0, 0.6),
    st.integers(1, 40),
)
def test_every_run_is_taken_once_and_in_order_whatever_gets_lost(
    seed: int, loss: float, refuses: float, runs: int
) -> None:
    rng = random.Random(seed)  # replays the run
    outstanding, target = Outstanding(1000, 10**6), Target(rng, refuses)
    confirmed: list[Confirmation] = []
    on_the_way: list[Order] = []
    sent, now = 0, 0.0
    while sent < runs or len(outstanding):
        assert now < 10_000.0, f"seed {seed}"
        if not len(outstanding) or (sent < runs and rng.random() < 0.5):
            sent += 1
            orders = outstanding.add(sending(sent, until=1e9), [(ANN, "", 2)], now)
        else:
            now = max(now, outstanding.next_deadline())
            late, orders = outstanding.advance(now)
            assert not late
        on_the_way += [order for order in orders if rng.random() >= loss]
        rng.shuffle(on_the_way)
        while on_the_way and rng.random() < 0.8:
            order = on_the_way.pop()
            answer = target.hear(order)
            if answer is None or rng.random() < loss:
                continue
            if answer == "refused":
                outstanding.refused((ANN, "", 2), order.sending.sequence, now)
                continue
            done, more = outstanding.confirmed((ANN, "", 2), [order.sending.sequence], now)
            confirmed += done
            on_the_way += [each for each in more if rng.random() >= loss]
    assert target.taken == list(range(1, runs + 1))
    assert sorted(each.asked[1] for each in confirmed) == target.taken


def test_runs_name_the_one_before_so_that_copies_for_all_are_alike() -> None:
    outstanding = Outstanding(100, 1000)
    first = add(outstanding, 1, (ANN, "", 2), (BOB, "", 2))
    outstanding.confirmed((ANN, "", 2), [1], 0.0)
    second = add(outstanding, 2, (ANN, "", 2), (BOB, "", 2))
    assert [(order.leg[0], order.after) for order in (*first, *second)] == [
        (ANN, 0),
        (BOB, 0),
        (ANN, 1),
        (BOB, 1),
    ]


def test_each_priority_keeps_an_order_of_its_own() -> None:
    outstanding, arrivals = Outstanding(100, 1000), Arrivals(10)
    first = add(outstanding, 1, (ANN, "", 3))
    second = add(outstanding, 2, (ANN, "", 0))
    assert [order.after for order in (*first, *second)] == [0, 0]
    assert arrivals.judge((ME, "", 0), 1, 0, 2) is Standing.NEXT
    arrivals.accept((ME, "", 0), 1, 2)
    assert arrivals.judge((ME, "", 3), 1, 0, 1) is Standing.NEXT


def test_a_publication_is_complete_when_its_last_target_confirms() -> None:
    outstanding = Outstanding(100, 1000)
    add(outstanding, 1, (ANN, "", 2), (BOB, "", 2))
    assert outstanding.confirmed((ANN, "", 2), [1], 0.0)[0] == []
    ((done,), _) = outstanding.confirmed((BOB, "", 2), [1], 0.0)
    assert (done.targets, done.confirmed, done.left) == (2, 2, 0)
    assert len(outstanding) == 0
    assert outstanding.confirmed((BOB, "", 2), [1], 0.0)[0] == []


def test_what_is_not_confirmed_is_sent_again_ever_more_seldom() -> None:
    outstanding, now, times = Outstanding(100, 1000), 0.0, []
    outstanding.add(sending(1, until=60.0), [(ANN, "", 2)], now)
    for _ in range(6):
        now = outstanding.next_deadline()
        assert sequences(outstanding.advance(now)[1]) == [1]
        times.append(now)
    assert times == [FIRST_RETRY_S * n for n in (1, 3, 7, 11, 15, 19)]


def test_one_run_asks_and_the_others_follow_when_it_is_answered() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2, 3):
        add(outstanding, sequence)
    (again,) = outstanding.advance(FIRST_RETRY_S)[1]
    assert (again.sending.sequence, again.after) == (1, 0)
    _, more = outstanding.confirmed((ANN, "", 2), [1], 1.0)
    assert [(order.sending.sequence, order.after) for order in more] == [(2, 1), (3, 2)]


def test_each_time_another_way_is_tried() -> None:
    outstanding, ways = Outstanding(100, 1000), []
    add(outstanding, 1)
    for _ in range(4):
        (again,) = outstanding.advance(outstanding.next_deadline())[1]
        ways.append(again.is_again)
    assert all(ways)


def test_a_receipt_may_confirm_all_that_came_before() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2, 3, 4):
        add(outstanding, sequence)
    complete, _ = outstanding.confirmed((ANN, "", 2), [], 0.0, through=3)
    assert [each.asked[1] for each in complete] == [1, 2, 3]


def test_where_nobody_wants_a_run_any_more_nobody_confirms_it() -> None:
    outstanding = Outstanding(100, 1000)
    add(outstanding, 1, (ANN, "", 2), (BOB, "", 2))
    outstanding.confirmed((ANN, "", 2), [1], 0.0, 1, is_missed=False)
    ((done,), _) = outstanding.confirmed((BOB, "", 2), [1], 0.0)
    assert (done.targets, done.confirmed) == (2, 1)


def test_what_a_target_misses_is_sent_at_once_but_not_over_and_over() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2, 3):
        add(outstanding, sequence)
    assert sequences(outstanding.missed((ANN, "", 2), 0.1)) == [1, 2, 3]
    assert outstanding.missed((ANN, "", 2), 0.12) == []
    assert sequences(outstanding.missed((ANN, "", 2), 0.2)) == [1, 2, 3]


def test_a_target_says_how_far_everything_was_taken_and_what_is_missing() -> None:
    arrivals, source = Arrivals(10), (ANN, "", 2)
    for sequence in (1, 2, 3):
        arrivals.accept(source, 1, sequence)
    arrivals.taken(source, 1, 0)
    arrivals.taken(source, 3, 0)
    assert arrivals.through(source) == 1
    arrivals.taken(source, 2, 0)
    assert arrivals.through(source) == 3
    told = [arrivals.tells_gap(source, 1) for _ in range(17)]
    assert [place for place, is_told in enumerate(told) if is_told] == [0, 8, 16]
    arrivals.accept(source, 1, 4)
    arrivals.taken(source, 4, 5)
    assert arrivals.through(source) == 0


def test_a_target_that_has_a_run_is_sent_it_again_late_and_others_at_once() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2):
        add(outstanding, sequence)
    outstanding.advance(FIRST_RETRY_S)
    assert sequences(outstanding.under_way((ANN, "", 2), 1, 1.0)) == [2]
    assert outstanding.advance(1.0 + UNDER_WAY_S - 0.1) == ([], [])
    assert sequences(outstanding.advance(1.0 + UNDER_WAY_S)[1]) == [1]
    assert outstanding.under_way((BOB, "", 2), 1, 1.0) == []


def test_a_target_without_room_gets_nothing_before_its_time() -> None:
    outstanding = Outstanding(100, 1000)
    add(outstanding, 1)
    outstanding.refused((ANN, "", 2), 1, 0.0)
    assert add(outstanding, 2) == []
    due = outstanding.next_deadline()
    assert 0.0 < due < FIRST_RETRY_S
    assert sequences(outstanding.advance(due)[1]) == [1]


def test_a_target_that_has_room_again_gets_at_once_what_it_refused() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2):
        add(outstanding, sequence)
    outstanding.refused((ANN, "", 2), 1, 0.0)
    assert sequences(outstanding.missed((ANN, "", 2), 0.01)) == [1, 2]


def test_nobody_is_told_of_a_gap_behind_what_was_refused() -> None:
    arrivals, source = Arrivals(10), (ANN, "", 2)
    arrivals.refuse(source, 1, "news")
    assert not any(arrivals.tells_gap(source, 1) for _ in range(20))
    arrivals.accept(source, 1, 1)
    assert arrivals.tells_gap(source, 1)


def test_what_was_sent_behind_a_withdrawn_run_is_sent_again() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2):
        add(outstanding, sequence)
    (withdrawn,), orders = outstanding.withdraw((ANN, "", 2), [1])
    assert withdrawn.sequence == 1
    assert [(order.sending.sequence, order.after) for order in orders] == [(2, 0)]


def test_what_waited_for_who_is_gone_waits_no_more() -> None:
    outstanding = Outstanding(100, 1000)
    for sequence in (1, 2):
        add(outstanding, sequence, (ANN, "", 2), (BOB, "", 2))
    abandoned = outstanding.abandon(ANN)
    assert [(leg[0], sending.sequence) for leg, sending in abandoned] == [(ANN, 1), (ANN, 2)]
    complete, _ = outstanding.confirmed((BOB, "", 2), [1, 2], 0.0)
    assert [each.asked[1] for each in complete] == [1, 2]
    assert len(outstanding) == 0


def test_what_is_late_is_told_once() -> None:
    outstanding = Outstanding(100, 1000)
    outstanding.add(sending(1, until=0.2), [(ANN, "", 2)], 0.0)
    (late,), _ = outstanding.advance(0.2)
    assert late.sequence == 1
    outstanding.withdraw((ANN, "", 2), [1])
    assert outstanding.advance(1e9) == ([], [])


@pytest.mark.parametrize(("limit", "limit_bytes"), [(2, 1000), (100, 20)])
def test_count_and_bytes_are_bounded(limit: int, limit_bytes: int) -> None:
    outstanding = Outstanding(limit, limit_bytes)
    for sequence in (1, 2):
        assert outstanding.has_room(10)
        add(outstanding, sequence)
    assert not outstanding.has_room(10)
    outstanding.confirmed((ANN, "", 2), [1], 0.0)
    assert outstanding.has_room(10)


def test_no_more_than_a_window_is_under_way() -> None:
    outstanding = Outstanding(10_000, 10**6)
    sent = [sequence for n in range(1, WINDOW + 10) for sequence in sequences(add(outstanding, n))]
    assert len(sent) == WINDOW
    assert sequences(outstanding.confirmed((ANN, "", 2), [1, 2], 0.0)[1]) == [
        WINDOW + 1,
        WINDOW + 2,
    ]


@given(st.lists(st.sampled_from("acrt"), max_size=60))
def test_timers_do_not_pile_up(steps: list[str]) -> None:
    outstanding, now, last = Outstanding(1000, 10**6), 0.0, 0
    for step in steps:
        now += 0.03
        if step == "a":
            last += 1
            add(outstanding, last, now=now)
        elif step == "c":
            outstanding.confirmed((ANN, "", 2), [last], now)
        elif step == "r":
            outstanding.refused((ANN, "", 2), last, now)
        else:
            outstanding.advance(max(now, min(outstanding.next_deadline(), now + 1.0)))
        outstanding.next_deadline()
    live = [timer for timer in outstanding._timers if timer[2].timer_at == timer[0]]
    assert len(live) <= 1


def test_another_life_of_a_publisher_is_heard_from_its_first_run() -> None:
    arrivals, source = Arrivals(10), (ANN, "", 2)
    arrivals.accept(source, 1, 900)
    assert arrivals.judge(source, 2, 5, 6) is Standing.GAP
    assert arrivals.judge(source, 2, 0, 5) is Standing.NEXT
    arrivals.accept(source, 2, 5)
    assert arrivals.judge(source, 2, 5, 6) is Standing.NEXT


def test_what_came_to_nothing_is_never_called_taken() -> None:
    arrivals, source = Arrivals(10), (ANN, "", 2)
    for sequence in range(1, 1001):
        arrivals.accept(source, 1, sequence)
        arrivals.taken(source, sequence, 4 if sequence % 2 else 0)
    for sequence in range(1, 1001, 2):
        assert arrivals.judge(source, 1, 0, sequence) is Standing.TAKEN
        assert arrivals.code_of(source, sequence) == 4
    assert arrivals.code_of(source, 1000) == 0


def test_the_publishers_that_are_remembered_are_bounded() -> None:
    arrivals = Arrivals(2)
    for number in range(5):
        arrivals.accept((NodeId(bytes([number])), "", 2), 1, 1)
    assert len(arrivals._heard) == 2
