"""Calls that wait for a provider: each ends once, and what is kept of providers is bounded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bare_node import HI
from maculaos.kademlia.methods import method_key
from maculaos.kademlia.requests import ValueFound
from maculaos.node.seeking import KEEP_S, Call, Seeking
from maculaos.rpc.parties import Party, of_client
from maculaos.rpc.pending import KEPT_BYTES, PendingCall
from maculaos.swim.rumour import Health
from maculaos.wire.messages import RpcCall
from maculaos.wire.registry import Answering, RpcErrorCode
from node_parts import cores_of, found_by, members_of, names, node_id, record_by, rumour

ONE, TWO = of_client(1), of_client(2)


def waits(
    seeking: Seeking,
    number: int = 7,
    method: str = "add",
    *,
    deadline: float = 1.0,
    origin: Party = ONE,
    now: float = 0.0,
    size: int = 1,
    answering: int = Answering.ONE,
) -> bool:
    """A call begins to wait, if it may."""
    message = RpcCall(number, method, 1000, b"", HI, answering=answering)
    call: Call = PendingCall(origin, number, deadline, message, size, b"")
    return seeking.wait(call, method, now)


def kept(seeking: Seeking) -> int:
    """How many providers are kept, counted once for each of their methods."""
    return len(seeking._providers)


def seeking_of(limit: int = 100) -> Seeking:
    """What seeks for a node that nobody is linked to."""
    cores = cores_of()
    return Seeking(cores.directory, cores.paths, limit)


def found(seeking: Seeking, number: int, method: str, *publishers: str, now: float = 0.0) -> int:
    """A search ends with these; how many calls go on."""
    result = found_by(number, method_key(method), *publishers)
    return len(seeking.found(result, members_of(*names(20)), now))


def test_calls_of_one_method_share_a_search_and_all_go_on_in_order() -> None:
    seeking = seeking_of()
    for number in range(3):
        assert waits(seeking, number)
    assert waits(seeking, 9, "other")
    first = found_by(1, method_key("add"), "m1")
    went_on = seeking.found(first, members_of("m1"), 0.0)
    assert [each.origin_call for each in went_on] == [0, 1, 2]
    assert seeking.found(first, members_of("m1"), 0.0) == []
    assert (len(seeking), found(seeking, 2, "other")) == (1, 1)


@given(st.integers(1, 20), st.integers(0, 40))
def test_no_more_calls_wait_than_may(limit: int, calls: int) -> None:
    seeking = seeking_of(limit)
    taken = [
        waits(seeking, number, f"m{number % 7}", origin=of_client(number))
        for number in range(calls)
    ]
    assert taken == [number < limit for number in range(calls)]
    assert len(seeking) == min(limit, calls)


def test_half_of_what_may_wait_is_left_to_others() -> None:
    seeking = seeking_of(limit=10)
    assert [waits(seeking, number) for number in range(6)] == [True] * 5 + [False]
    assert waits(seeking, origin=TWO)
    seeking.cancel(ONE, 0)
    assert waits(seeking, 6)


def test_requests_that_wait_are_bounded_in_bytes_all_together() -> None:
    seeking, size = seeking_of(), KEPT_BYTES // 4
    for number in range(4):
        assert waits(seeking, number, f"m{number}", size=size)
    assert not waits(seeking, 4, origin=TWO)


@pytest.mark.parametrize("end", ["found", "cancelled", "late", "gone"])
def test_request_that_waits_no_more_makes_room(end: str) -> None:
    seeking = seeking_of(limit=1)
    for _ in range(3):
        assert waits(seeking, size=KEPT_BYTES)
        assert not waits(seeking, 8, origin=TWO)
        if end == "found":
            (search,) = seeking._methods
            assert found(seeking, search, "add") == 1
        elif end == "cancelled":
            assert seeking.cancel(ONE, 7)
        elif end == "late":
            assert len(seeking.advance(1.0)) == 1
        else:
            seeking.drop(ONE)
        assert len(seeking) == 0


def test_number_is_in_use_while_its_call_waits_and_that_of_a_cast_is_not() -> None:
    seeking = seeking_of()
    waits(seeking, 1)
    waits(seeking, 2, answering=Answering.NONE)
    assert seeking.is_waiting(ONE, 1)
    assert not seeking.is_waiting(TWO, 1)
    assert not seeking.is_waiting(ONE, 2)
    found(seeking, 1, "add")
    assert not seeking.is_waiting(ONE, 1)


@pytest.mark.parametrize("known", [None, (RpcErrorCode.NO_PROVIDER, "no")])
def test_search_that_had_no_room_does_not_say_that_nobody_answers(
    known: tuple[int, str] | None,
) -> None:
    seeking = seeking_of()
    call: Call = PendingCall(ONE, 7, 1.0, None, 1, b"", refusal=known)
    seeking.wait(call, "add", 0.0)
    refused = ValueFound(1, method_key("add"), (), hops=0, asked=0, is_complete=False)
    assert seeking.found(refused, members_of(), 0.0) == [call]
    assert call.refusal is not None
    assert call.refusal[0] == RpcErrorCode.OVERLOADED


@pytest.mark.parametrize(("asked", "is_complete"), [(0, True), (3, True), (3, False)])
def test_search_that_found_nobody_says_nothing_else(asked: int, is_complete: bool) -> None:
    seeking = seeking_of()
    call: Call = PendingCall(ONE, 7, 1.0, None, 1, b"")
    seeking.wait(call, "add", 0.0)
    nobody = ValueFound(1, method_key("add"), (), 1, asked, is_complete)
    assert seeking.found(nobody, members_of(), 0.0) == [call]
    assert call.refusal is None


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from("abc")), max_size=20))
def test_every_waiting_call_is_given_back_at_its_deadline_and_once(
    calls: list[tuple[int, str]],
) -> None:
    seeking, ended = seeking_of(), dict[int, float]()
    for number, (deadline_ms, method) in enumerate(calls):
        waits(seeking, number, method, deadline=deadline_ms / 1000)
    while (now := seeking.next_deadline()) < math.inf:
        for late in seeking.advance(now):
            assert late.origin_call not in ended
            ended[late.origin_call] = now
    assert ended == {number: each / 1000 for number, (each, _) in enumerate(calls)}
    assert len(seeking) == 0


def test_who_is_gone_waits_for_nothing() -> None:
    seeking = seeking_of()
    waits(seeking, 1)
    waits(seeking, 2, origin=TWO)
    seeking.drop(ONE)
    assert len(seeking) == 1
    assert found(seeking, 1, "add", "m1") == 1


def test_providers_are_called_in_turn_and_the_dead_and_unknown_are_not() -> None:
    seeking, members = seeking_of(), members_of("m1", "m2", "m3")
    members.put(rumour("m3", Health.DEAD), 0.0)
    waits(seeking)
    seeking.found(found_by(1, method_key("add"), "m1", "m2", "m3", "stranger"), members, 0.0)
    turns = [seeking.choose("add") for _ in range(4)]
    assert len(set(turns)) == 2
    assert turns[:2] == turns[2:]
    assert seeking.choose("other") is None


def test_provider_is_looked_for_again_after_a_while() -> None:
    seeking = seeking_of()
    waits(seeking)
    found(seeking, 1, "add", "m1")
    seeking.advance(KEEP_S - 0.1)
    assert seeking.choose("add") is not None
    seeking.advance(KEEP_S)
    assert seeking.choose("add") is None
    assert seeking.next_deadline() == math.inf


def test_provider_that_denies_it_is_not_called_again() -> None:
    cores = cores_of()
    seeking = Seeking(cores.directory, cores.paths, 10)
    waits(seeking)
    found(seeking, 1, "add", "m1")
    path = cores.paths.number_of(node_id("m1"))
    seeking.deny(path, "other")
    assert seeking.choose("add", [path]) is None
    assert seeking.choose("add") == path
    seeking.deny(path, "add")
    assert seeking.choose("add") is None
    assert kept(seeking) == 0


def test_what_was_denied_is_not_kept_again_but_what_is_said_anew_is() -> None:
    cores = cores_of()
    seeking = Seeking(cores.directory, cores.paths, 10)
    path = cores.paths.number_of(node_id("m1"))
    for number, sequence in enumerate((1, 1, 2), start=1):
        waits(seeking)
        record = record_by("m1", method_key("add"), sequence=sequence)
        result = ValueFound(number, record.key, (record,), hops=1, asked=1, is_complete=True)
        seeking.found(result, members_of("m1"), 0.0)
        assert seeking.choose("add") == (None if number == 2 else path)
        seeking.deny(path, "add")


def test_what_is_remembered_of_denials_is_bounded() -> None:
    seeking = seeking_of(limit=5)
    for number in range(1, 50):
        waits(seeking, method=f"m{number}")
        found(seeking, number, f"m{number}", "m1")
        seeking.deny(-1, f"m{number}")
    assert len(seeking._denied) <= 5


def test_member_that_is_gone_is_called_for_nothing() -> None:
    cores = cores_of()
    seeking = Seeking(cores.directory, cores.paths, 10)
    for number, method in enumerate(("add", "sub"), start=1):
        waits(seeking, method=method)
        found(seeking, number, method, "m1")
    assert kept(seeking) == 2
    seeking.forget(cores.paths.number_of(node_id("m1")))
    assert (kept(seeking), seeking.choose("add"), seeking.choose("sub")) == (0, None, None)
    assert seeking.next_deadline() == 1.0


def test_call_that_is_taken_back_waits_for_nothing() -> None:
    seeking = seeking_of()
    waits(seeking, 1)
    waits(seeking, 2)
    assert not seeking.cancel(TWO, 1)
    assert seeking.cancel(ONE, 1)
    assert not seeking.cancel(ONE, 1)
    assert found(seeking, 1, "add", "m1") == 1


def test_more_providers_are_looked_for_once_in_a_while_and_nobody_waits_for_them() -> None:
    seeking = seeking_of()
    seeking.survey("add", 0.0)
    seeking.survey("add", 1.0)
    assert found(seeking, 2, "add") == 0
    assert seeking.choose("add") is None
    assert found(seeking, 1, "add", "m1", "m2") == 0
    assert len(seeking.known("add")) == 2
    seeking.survey("add", 2.0)
    seeking.advance(KEEP_S)
    seeking.survey("add", KEEP_S)
    assert found(seeking, 2, "add", "m3") == 0
    assert seeking.choose("add") is not None


def test_call_waits_for_the_survey_that_is_under_way() -> None:
    seeking = seeking_of()
    seeking.survey("add", 0.0)
    assert waits(seeking)
    assert found(seeking, 1, "add", "m1") == 1


def test_surveys_without_end_are_not_all_remembered() -> None:
    seeking = seeking_of(limit=5)
    for number in range(50):
        seeking.survey(f"m{number}", 0.0)
    assert len(seeking._surveyed) <= 5


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(names(20))), max_size=60))
def test_what_is_kept_of_providers_is_bounded_and_the_newest_is_kept(
    rounds: list[tuple[str, str]],
) -> None:
    seeking = seeking_of(limit=5)
    for number, (method, provider) in enumerate(rounds, start=1):
        waits(seeking, number, method, deadline=1e6, now=float(number))
        found(seeking, number, method, provider, now=float(number))
        assert kept(seeking) <= 5
        assert seeking.choose(method) is not None
    seeking.advance(len(rounds) + KEEP_S)
    assert kept(seeking) == 0


def test_search_that_finds_crowds_keeps_no_more_than_may_be() -> None:
    seeking = seeking_of(limit=3)
    waits(seeking)
    assert found(seeking, 1, "add", *names(20)) == 1
    assert kept(seeking) == 3


def test_search_of_somebody_else_is_none_of_its_business() -> None:
    seeking = seeking_of()
    empty = ValueFound(77, bytes(32), (), hops=0, asked=0, is_complete=True)
    assert seeking.found(empty, members_of(), 0.0) == []
