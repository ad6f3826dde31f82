"""Who gets the next connection: laws that hold whatever happens, and the cases that people mean."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from reconciler.front.balance import SHUNNED_S, Balance, Endpoint

EVERY = tuple(Endpoint(f"blue-{n}", f"a{n}-shop", "v1", "127.0.0.1", 20_000 + n) for n in range(5))
LINGER_S = 10.0


def balance(*active: Endpoint) -> Balance:
    made = Balance()
    made.switch(active, (), LINGER_S, 0.0)
    return made


@given(st.integers(1, 5), st.integers(0, 60))
def test_counts_differ_by_one_at_most_while_nobody_hangs_up(count: int, connections: int) -> None:
    made = balance(*EVERY[:count])
    for _ in range(connections):
        made.choose(0.0)
    counts = [made.open().get(each, 0) for each in EVERY[:count]]
    assert sum(counts) == connections
    assert max(counts) - min(counts) <= 1


@given(st.integers(1, 5), st.integers(1, 40))
def test_ties_go_round_in_turn(count: int, times: int) -> None:
    made, chosen = balance(*EVERY[:count]), []
    for _ in range(times):
        one = made.choose(0.0)
        assert one is not None
        made.release(one)
        chosen.append(one)
    assert chosen == [EVERY[n % count] for n in range(times)]


@given(st.permutations(EVERY))
def test_order_in_which_instances_are_named_does_not_matter(order: list[Endpoint]) -> None:
    one, other = balance(*EVERY), balance(*order)
    assert [one.choose(0.0) for _ in range(12)] == [other.choose(0.0) for _ in range(12)]


def test_who_could_not_be_reached_comes_last_for_a_while() -> None:
    made = balance(*EVERY[:2])
    failed = made.choose(0.0)
    assert failed == EVERY[0]
    made.fail(failed, 0.0)
    assert [made.choose(0.1) for _ in range(3)] == [EVERY[1]] * 3
    assert made.choose(SHUNNED_S + 0.1) == EVERY[0]
    assert made.counts()["blue-0"] == (1, 1, 1)


def test_who_failed_is_still_chosen_where_there_is_nobody_else() -> None:
    made = balance(EVERY[0])
    made.choose(0.0)
    made.fail(EVERY[0], 0.0)
    assert made.choose(0.1) == EVERY[0]
    assert made.choose(0.1, tried={EVERY[0]}) is None


def test_connections_to_who_rests_are_left_alone_and_to_who_is_gone_have_their_time() -> None:
    made = balance(*EVERY[:3])
    for _ in range(3):
        made.choose(0.0)
    made.switch(EVERY[:1], EVERY[1:2], LINGER_S, 1.0)
    assert made.over(1e9) == (EVERY[2],)
    assert made.over(1.0 + LINGER_S - 0.01) == ()
    made.switch(EVERY[:1], EVERY[1:2], LINGER_S, 5.0)
    assert made.over(1.0 + LINGER_S) == (EVERY[2],)
    made.release(EVERY[2])
    assert made.over(1e9) == ()


def test_release_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no connection"):
        balance(EVERY[0]).release(EVERY[0])


class AnyHistory(RuleBasedStateMachine):
    """Switches, connections, ends and failures in any order, beside the plainest model."""

    def __init__(self) -> None:
        super().__init__()
        self.balance = Balance()
        self.now = 0.0
        self.active: set[Endpoint] = set()
        self.open: Counter[Endpoint] = Counter()
        self.shunned: dict[Endpoint, float] = {}

    @rule(active=st.sets(st.sampled_from(EVERY)), resting=st.sets(st.sampled_from(EVERY)))
    def switch(self, active: set[Endpoint], resting: set[Endpoint]) -> None:
        self.balance.switch(active, resting - active, LINGER_S, self.now)
        self.active = active
        # Who is gone for good is nobody that comes back.
        kept = active | resting | (+self.open).keys()
        self.shunned = {each: until for each, until in self.shunned.items() if each in kept}

    @rule(tried=st.sets(st.sampled_from(EVERY)))
    def choose(self, tried: set[Endpoint]) -> None:
        chosen = self.balance.choose(self.now, tried)
        if chosen is None:
            assert self.active <= tried
            return
        assert chosen in self.active - tried
        fit = {each for each in self.active - tried if self.shunned.get(each, 0.0) <= self.now}
        rivals = fit or self.active - tried
        assert chosen in rivals
        assert self.open[chosen] == min(self.open[each] for each in rivals)
        self.open[chosen] += 1

    @precondition(lambda self: self.open.total())
    @rule(data=st.data(), fails=st.booleans())
    def end(self, data: st.DataObject, fails: bool) -> None:
        endpoint = data.draw(st.sampled_from(sorted(self.open.elements())))
        if fails:
            self.balance.fail(endpoint, self.now)
            self.shunned[endpoint] = self.now + SHUNNED_S
        else:
            self.balance.release(endpoint)
        self.open[endpoint] -= 1

    @rule(passed_s=st.floats(0, 20))
    def wait(self, passed_s: float) -> None:
        self.now += passed_s

    @invariant()
    def every_connection_is_counted_once(self) -> None:
        assert self.balance.open() == +self.open

    @invariant()
    def only_what_is_open_and_takes_no_traffic_is_ever_cut(self) -> None:
        over = set(self.balance.over(self.now))
        assert over <= (+self.open).keys() - self.active


TestAnyHistory = AnyHistory.TestCase
