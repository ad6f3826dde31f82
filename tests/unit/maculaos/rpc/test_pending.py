"""Pending calls: answered once by whom they were put to, lost, cancelled or expired."""

from __future__ import annotations

import math
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from maculaos.rpc.desks import Desk
from maculaos.rpc.parties import of_client, of_link
from maculaos.rpc.pending import KEPT_BYTES, PendingCall, PendingCalls
from maculaos.rpc.streams import Stream

CALLER, PROVIDER = of_client(1), of_link(1)
_numbers = count(1)


def call_by(
    origin: int = CALLER, deadline: float = 5.0, size: int = 10, brought_by: int = 0
) -> PendingCall[str]:
    """A call with a number of its own."""
    return PendingCall(origin, next(_numbers), deadline, "what", size, b"me", brought_by)


def opened(
    calls: PendingCalls[str], deadline: float = 5.0, origin: int = CALLER
) -> PendingCall[str]:
    """A call that waits for the provider."""
    call = call_by(origin, deadline)
    assert calls.open(call, PROVIDER)
    return call


def test_a_call_is_answered_once_and_only_by_its_provider() -> None:
    calls = PendingCalls[str](limit=10)
    call = opened(calls)
    assert calls.get(call.number, of_client(1)) is None
    assert calls.get(call.number, PROVIDER) is call
    calls.close(call)
    assert calls.get(call.number, PROVIDER) is None
    assert calls.next_deadline() == math.inf


def test_numbers_begin_behind_one_that_others_cannot_guess() -> None:
    calls = PendingCalls[str](limit=10, first=77_000)
    assert [opened(calls).number for _ in range(3)] == [77_001, 77_002, 77_003]


@given(st.lists(st.floats(0, 100), max_size=30), st.floats(0, 100))
def test_exactly_the_calls_whose_deadline_has_passed_expire(
    deadlines: list[float], now: float
) -> None:
    calls = PendingCalls[str](limit=100)
    for deadline in deadlines:
        opened(calls, deadline)
    expired = [call.deadline for call in calls.expire(now)]
    assert expired == sorted(each for each in deadlines if each <= now)
    assert calls.next_deadline() == min(
        (each for each in deadlines if each > now), default=math.inf
    )


def test_who_is_gone_leaves_what_it_asked_and_what_it_was_to_answer() -> None:
    calls = PendingCalls[str](limit=10)
    first, second = opened(calls), opened(calls, origin=of_link(9))
    assert calls.drop(CALLER) == ([first], [])
    assert calls.drop(PROVIDER) == ([], [second])
    assert len(calls) == 0


def test_who_called_itself_and_is_gone_is_told_nothing() -> None:
    calls = PendingCalls[str](limit=10)
    assert calls.open(call_by(), CALLER)
    assert calls.drop(CALLER) == ([], [])
    assert len(calls) == 0


def test_call_is_found_by_the_number_that_its_origin_gave_it() -> None:
    calls = PendingCalls[str](limit=10)
    call = opened(calls)
    assert calls.find(CALLER, call.origin_call) is call
    assert calls.is_open(CALLER, call.origin_call)
    assert calls.find(of_link(2), call.origin_call) is None
    calls.close(call)
    assert calls.find(CALLER, call.origin_call) is None


def test_one_caller_holds_at_most_half_of_all_calls() -> None:
    calls = PendingCalls[str](limit=4)
    opened(calls)
    opened(calls)
    assert not calls.open(call_by(), PROVIDER)
    other = of_client(2)
    opened(calls, origin=other)
    opened(calls, origin=other)
    assert not calls.open(call_by(of_client(3)), PROVIDER)


def test_neighbour_that_brings_calls_of_many_holds_at_most_half_of_them() -> None:
    calls, link = PendingCalls[str](limit=4), of_link(5)
    brought = [call_by(of_link(-number), brought_by=link) for number in range(1, 4)]
    assert [calls.open(call, PROVIDER) for call in brought] == [True, True, False]
    calls.close(brought[0])
    assert calls.open(brought[2], PROVIDER)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.booleans()), max_size=60))
def test_calls_of_a_provider_and_of_its_desk_are_counted(
    steps: list[tuple[int, int, bool]],
) -> None:
    calls, there = PendingCalls[str](limit=1000), list[PendingCall[str]]()
    desk = Desk(limit=5)
    for origin, provider, closes in steps:
        if closes and there:
            calls.close(there.pop())
            continue
        call = call_by(of_client(origin))
        call.desk = desk
        assert calls.open(call, of_link(provider))
        there.append(call)
    for provider in (1, 2, 3):
        expected = sum(call.provider == of_link(provider) for call in there)
        assert calls.waiting_for(of_link(provider)) == expected
    assert desk.waiting == len(there) == len(calls)
    for call in there:
        calls.close(call)
    assert (calls._of_origin, calls._of_provider, calls._kept_bytes) == ({}, {}, 0)


def test_answered_calls_do_not_pile_up_until_their_deadline() -> None:
    calls = PendingCalls[str](limit=10)
    for _ in range(10_000):
        calls.close(opened(calls, deadline=1e6))
    assert len(calls._deadlines) < 200


def test_requests_beyond_a_bound_are_not_kept_for_another_try() -> None:
    calls = PendingCalls[str](limit=10)
    large = [call_by(of_client(each), size=KEPT_BYTES // 2) for each in range(3)]
    assert all(calls.open(call, PROVIDER) for call in large)
    assert [call.request for call in large] == ["what", "what", None]
    calls.close(large[0])
    again = call_by(size=KEPT_BYTES // 2)
    assert calls.open(again, PROVIDER)
    assert again.request == "what"


def test_number_that_its_origin_uses_already_is_one_too_many() -> None:
    calls = PendingCalls[str](limit=10)
    call = opened(calls)
    twin = PendingCall(CALLER, call.origin_call, 9.0, "what", 10, b"me")
    assert not calls.open(twin, PROVIDER)
    calls.close(call)
    assert calls.open(twin, PROVIDER)


def test_calls_that_move_are_found_closed_and_counted_at_their_new_party() -> None:
    calls, link, path = PendingCalls[str](limit=10), of_link(1), of_link(-1)
    asked = call_by(link)
    assert calls.open(asked, CALLER)
    owed = opened(calls)
    assert calls.move(link, path) == [owed]
    assert calls.find(path, asked.origin_call) is asked
    assert calls.find(link, asked.origin_call) is None
    assert calls.get(owed.number, path) is owed
    assert (calls.waiting_for(link), calls.waiting_for(path)) == (0, 1)
    assert calls.drop(link) == ([], [])
    calls.close(asked)
    calls.close(owed)
    assert (calls._of_origin, calls._of_provider) == ({}, {})


def test_streams_do_not_move() -> None:
    calls = PendingCalls[str](limit=10)
    stream = call_by()
    stream.stream = Stream(5)
    assert calls.open(stream, PROVIDER)
    assert calls.move(PROVIDER, of_link(-1)) == []
    assert calls.drop(PROVIDER) == ([], [stream])
