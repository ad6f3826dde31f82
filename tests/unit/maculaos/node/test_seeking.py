"""Calls that wait for a provider: each ends once, and what is kept of providers is bounded."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from bare_node import call
from maculaos.kademlia.methods import method_key
from maculaos.kademlia.requests import ValueFound
from maculaos.node.seeking import KEEP_S, Seeking
from maculaos.rpc.pending import Party, Side
from maculaos.swim.rumour import Health
from node_parts import cores_of, found_by, members_of, names, node_id, rumour

ONE, TWO = Party(Side.CLIENT, 1), Party(Side.CLIENT, 2)


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
        assert seeking.wait(ONE, call(number), 0.0)
    assert seeking.wait(ONE, call(9, "other"), 0.0)
    first = found_by(1, method_key("add"), "m1")
    went_on = seeking.found(first, members_of("m1"), 0.0)
    assert [each.message.call for each in went_on] == [0, 1, 2]
    assert seeking.found(first, members_of("m1"), 0.0) == []
    assert (len(seeking), found(seeking, 2, "other")) == (1, 1)


@given(st.integers(1, 20), st.integers(0, 40))
def test_no_more_calls_wait_than_may(limit: int, calls: int) -> None:
    seeking = seeking_of(limit)
    taken = [seeking.wait(ONE, call(number, f"m{number % 7}"), 0.0) for number in range(calls)]
    assert taken == [number < limit for number in range(calls)]
    assert len(seeking) == min(limit, calls)


@given(st.lists(st.tuples(st.integers(1, 50), st.sampled_from("abc")), max_size=20))
def test_every_waiting_call_is_given_back_at_its_deadline_and_once(
    calls: list[tuple[int, str]],
) -> None:
    seeking, ended = seeking_of(), dict[int, float]()
    for number, (deadline_ms, method) in enumerate(calls):
        seeking.wait(ONE, call(number, method, deadline_ms), 0.0)
    while (now := seeking.next_deadline()) < math.inf:
        for late in seeking.advance(now):
            assert late.message.call not in ended
            ended[late.message.call] = now
    assert ended == {number: each / 1000 for number, (each, _) in enumerate(calls)}
    assert len(seeking) == 0


def test_call_goes_on_with_the_time_that_is_left() -> None:
    seeking = seeking_of()
    seeking.wait(ONE, call(deadline_ms=1000), 5.0)
    (waiting,) = seeking.found(found_by(1, method_key("add")), members_of(), 5.5)
    assert waiting.left(5.5).deadline_ms == 500
    assert waiting.left(99.0).deadline_ms == 1


def test_who_is_gone_waits_for_nothing() -> None:
    seeking = seeking_of()
    seeking.wait(ONE, call(1), 0.0)
    seeking.wait(TWO, call(2), 0.0)
    seeking.drop(ONE)
    assert len(seeking) == 1
    assert found(seeking, 1, "add", "m1") == 1


def test_providers_are_called_in_turn_and_the_dead_and_unknown_are_not() -> None:
    seeking, members = seeking_of(), members_of("m1", "m2", "m3")
    members.put(rumour("m3", Health.DEAD), 0.0)
    seeking.wait(ONE, call(), 0.0)
    seeking.found(found_by(1, method_key("add"), "m1", "m2", "m3", "stranger"), members, 0.0)
    turns = [seeking.choose("add") for _ in range(4)]
    assert len(set(turns)) == 2
    assert turns[:2] == turns[2:]
    assert seeking.choose("other") is None


def test_provider_is_looked_for_again_after_a_while() -> None:
    seeking = seeking_of()
    seeking.wait(ONE, call(), 0.0)
    found(seeking, 1, "add", "m1")
    seeking.advance(KEEP_S - 0.1)
    assert seeking.choose("add") is not None
    seeking.advance(KEEP_S)
    assert seeking.choose("add") is None
    assert seeking.next_deadline() == math.inf


def test_provider_that_denies_it_is_not_called_again() -> None:
    cores = cores_of()
    seeking = Seeking(cores.directory, cores.paths, 10)
    seeking.wait(ONE, call(), 0.0)
    found(seeking, 1, "add", "m1")
    seeking.forget(cores.paths.number_of(node_id("m1")))
    assert seeking.choose("add") is None


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(names(20))), max_size=60))
def test_what_is_kept_of_providers_is_bounded_and_the_newest_is_kept(
    rounds: list[tuple[str, str]],
) -> None:
    seeking = seeking_of(limit=5)
    for number, (method, provider) in enumerate(rounds, start=1):
        seeking.wait(ONE, call(method=method), float(number))
        found(seeking, number, method, provider, now=float(number))
        assert seeking.kept <= 5
        assert seeking.choose(method) is not None
    seeking.advance(len(rounds) + KEEP_S)
    assert seeking.kept == 0


def test_search_that_finds_crowds_keeps_no_more_than_may_be() -> None:
    seeking = seeking_of(limit=3)
    seeking.wait(ONE, call(), 0.0)
    assert found(seeking, 1, "add", *names(20)) == 1
    assert seeking.kept == 3


def test_search_of_somebody_else_is_none_of_its_business() -> None:
    seeking = seeking_of()
    empty = ValueFound(77, bytes(32), (), hops=0, asked=0, is_complete=True)
    assert seeking.found(empty, members_of(), 0.0) == []
