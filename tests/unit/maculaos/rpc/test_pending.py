"""Pending calls: answered once by whom they were put to, lost, or expired."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.pending import Party, PendingCall, PendingCalls, Side

CALLER, PROVIDER = Party(Side.CLIENT, 1), Party(Side.LINK, 1)


def opened(calls: PendingCalls, deadline: float = 5.0, origin: Party = CALLER) -> PendingCall:
    call = calls.open(origin, 7, PROVIDER, deadline)
    assert call is not None
    return call


def test_a_call_is_answered_once_and_only_by_its_provider() -> None:
    calls = PendingCalls(limit=10)
    call = opened(calls)
    assert calls.answer(call.number, Party(Side.CLIENT, 1)) is None
    assert calls.answer(call.number, PROVIDER) == call
    assert calls.answer(call.number, PROVIDER) is None
    assert calls.next_deadline() == math.inf


@given(st.lists(st.floats(0, 100), max_size=30), st.floats(0, 100))
def test_exactly_the_calls_whose_deadline_has_passed_expire(
    deadlines: list[float], now: float
) -> None:
    calls = PendingCalls(limit=100)
    for deadline in deadlines:
        opened(calls, deadline)
    expired = [call.deadline for call in calls.expire(now)]
    assert expired == sorted(each for each in deadlines if each <= now)
    assert calls.next_deadline() == min(
        (each for each in deadlines if each > now), default=math.inf
    )


def test_losing_a_provider_returns_its_calls_and_losing_a_caller_forgets_them() -> None:
    calls = PendingCalls(limit=10)
    first, second = opened(calls), opened(calls, origin=Party(Side.LINK, 9))
    assert calls.drop(CALLER) == []
    assert calls.answer(first.number, PROVIDER) is None
    assert calls.drop(PROVIDER) == [second]
    assert len(calls) == 0


def test_one_caller_holds_at_most_half_of_all_calls() -> None:
    calls = PendingCalls(limit=4)
    opened(calls)
    opened(calls)
    assert calls.open(CALLER, 7, PROVIDER, 5.0) is None
    other = Party(Side.CLIENT, 2)
    opened(calls, origin=other)
    opened(calls, origin=other)
    assert calls.open(Party(Side.CLIENT, 3), 7, PROVIDER, 5.0) is None


def test_answered_calls_do_not_pile_up_until_their_deadline() -> None:
    calls = PendingCalls(limit=10)
    for _ in range(10_000):
        calls.answer(opened(calls, deadline=1e6).number, PROVIDER)
    assert len(calls._deadlines) < 200
