"""What holds of every rollout, whatever happens to the machine and to the reconciler meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.rollouts.decision import Order, Wish, Word
from reconciler.rollouts.deployment import Phase, standing
from reconciler.rollouts.spec import Strategy
from rollingmachine import RollingMachine

VERSIONS = ("A", "B", "C", "D")
KINDS: tuple[Literal["restart", "rolling", "blue-green", "canary"], ...] = (
    "restart",
    "rolling",
    "blue-green",
    "canary",
)
SLOW_S = 20.0


@dataclass(frozen=True)
class Act:
    """Something that happens: to Git, to a program, to the clock, to the reconciler."""

    what: Literal[
        "look", "die", "goal", "count", "crash", "hang", "heal", "spoil", "jump", "order", "kind"
    ]
    number: int
    after_s: float


WORDS = tuple(Word)
CALM = ("look", "die", "goal")
strategies = st.builds(
    Strategy,
    kind=st.sampled_from(KINDS),
    max_parallel=st.integers(1, 3),
    canary=st.integers(1, 3),
    auto_promote=st.booleans(),
    auto_revert=st.booleans(),
    min_healthy_time_s=st.sampled_from([0.0, 1.0, 10.0]),
    healthy_deadline_s=st.just(100.0),
    progress_deadline_s=st.sampled_from([101.0, 300.0]),
    drain_s=st.sampled_from([0.0, 7.0]),
)


def _acts(*kinds: str) -> st.SearchStrategy[list[Act]]:
    one = st.builds(
        Act,
        what=st.sampled_from(kinds),
        number=st.integers(0, 11),
        after_s=st.sampled_from([0.1, 1.0, 4.0, 5.0, 11.0, 40.0]),
    )
    return st.lists(one, max_size=30)


def _machine(strategy: Strategy, instances: int = 3) -> RollingMachine:
    wish = Wish(goal="A", instances=instances, strategy=strategy)
    return RollingMachine(wish, good=dict.fromkeys(VERSIONS, SLOW_S / 4))


def _happen(machine: RollingMachine, act: Act) -> None:
    programs = sorted(machine.programs)
    chosen = programs[act.number % len(programs)] if programs else None
    version = VERSIONS[act.number % len(VERSIONS)]
    if act.what == "goal":
        machine.want(version)
    elif act.what == "count":
        machine.want(instances=1 + act.number % 4)
    elif act.what == "kind":
        kind = KINDS[act.number % len(KINDS)]
        machine.wish = replace(machine.wish, strategy=replace(machine.wish.strategy, kind=kind))
    elif act.what == "crash" and chosen is not None:
        machine.start(chosen, machine.programs[chosen].digest)
    elif act.what in ("hang", "heal") and chosen is not None:
        machine.programs[chosen].is_down = act.what == "hang"
    elif act.what == "spoil":
        machine.good.pop(version, None)
        machine.good |= {each: SLOW_S / 4 for each in VERSIONS if each != version}
    elif act.what == "jump":
        machine.clock_error += (-1) ** act.number * 10.0 ** (act.number % 7)
    orders = [Order(WORDS[act.number % len(WORDS)])] if act.what == "order" else []
    machine.look(*orders, dies=act.what == "die")
    machine.now += act.after_s


def _make_well(machine: RollingMachine) -> None:
    machine.good = dict.fromkeys(VERSIONS, SLOW_S / 4)
    for program in machine.programs.values():
        program.is_down = False
    machine.look(Order(Word.RESUME))


def _settle(machine: RollingMachine) -> None:
    """Until nothing is asked for; an operator promotes what waits.

    What failed is looked at as often as everything is, for drift.
    """
    patience = 3
    for _ in range(5_000):
        rollout = machine.deployment.rollout
        waits = rollout is not None and rollout.is_waiting
        decision = machine.look(*([Order(Word.PROMOTE)] if waits else []))
        if decision.next_at is not None:
            machine.now = decision.next_at - machine.clock_error
        elif machine.deployment.rollout is not None and patience:
            patience -= 1
            machine.now += 30.0
        else:
            return
    raise AssertionError(f"never at rest: {machine.deployment}")


ANYTHING = (
    "look", "die", "goal", "count", "crash", "hang", "heal", "spoil", "jump", "order", "kind",
)  # fmt: skip


@given(strategies, _acts(*ANYTHING))
def test_whatever_happened_it_ends_with_every_instance_on_the_goal(
    strategy: Strategy, acts: list[Act]
) -> None:
    machine = _machine(strategy)
    for act in acts:
        _happen(machine, act)
    _make_well(machine)
    _settle(machine)
    machine.look(Order(Word.RETRY))
    _settle(machine)
    assert [*machine.digests().values()] == [machine.wish.goal] * machine.wish.instances
    assert machine.deployment.stable == machine.wish.goal
    assert standing(machine.deployment, machine.wish.goal).phase is Phase.STABLE
    machine.now += SLOW_S
    assert len(machine.serving()) == machine.wish.instances


@given(strategies, _acts(*ANYTHING))
def test_at_rest_it_asks_for_nothing_and_forgets_nothing(
    strategy: Strategy, acts: list[Act]
) -> None:
    machine = _machine(strategy)
    for act in acts:
        _happen(machine, act)
    _make_well(machine)
    _settle(machine)
    before, runs = machine.deployment, machine.runs
    machine.now += 1_000.0
    again = machine.look()
    assert again.deployment == before
    assert again.events == ()
    assert again.next_at is None
    assert machine.runs == runs


@given(strategies, _acts(*CALM, "jump"))
def test_while_versions_are_healthy_enough_instances_serve(
    strategy: Strategy, acts: list[Act]
) -> None:
    machine = _machine(strategy)
    _settle(machine)
    fewest = {"restart": 0, "rolling": 3 - strategy.max_parallel}.get(strategy.kind, 3)
    for act in acts:
        _happen(machine, act)
        assert len(machine.serving()) >= fewest, machine.digests()
    for _ in range(200):
        decision = machine.look()
        assert len(machine.serving()) >= fewest, machine.digests()
        if decision.next_at is None:
            break
        machine.now = decision.next_at - machine.clock_error


@given(strategies, _acts(*CALM, "jump", "crash", "hang", "heal", "spoil", "order", "count"))
def test_exactly_one_colour_has_the_traffic_and_green_only_when_all_of_it_is_healthy(
    strategy: Strategy, acts: list[Act]
) -> None:
    machine = _machine(replace(strategy, kind="blue-green"))
    for act in acts:
        before, stable = machine.deployment.live, machine.deployment.stable
        machine.now += act.after_s
        _happen(machine, replace(act, after_s=0.0))
        live = machine.deployment.live
        # Who was killed before it acted left the traffic where it was.
        if act.what != "die":
            assert machine.colours_with_traffic() <= {live}
        assert len(machine.colours_with_traffic()) <= 1
        if live is not before:
            fresh = [each for each in machine.well if each.colour is live]
            assert len(fresh) >= machine.wish.instances
            assert machine.deployment.stable not in (stable, None)


@given(strategies, _acts(*(what for what in ANYTHING if what != "jump")))
def test_a_version_becomes_stable_only_when_every_instance_was_healthy_long_enough(
    strategy: Strategy, acts: list[Act]
) -> None:
    machine = _machine(strategy)
    for act in acts:
        stable = machine.deployment.stable
        _happen(machine, replace(act, after_s=0.0))
        became = machine.deployment.stable
        if became not in (stable, None):
            live = machine.well.keys() & machine.programs.keys()
            proved = [
                each
                for each in live
                if each.colour is machine.deployment.live
                and each.index <= machine.wish.instances
                and machine.programs[each].digest == became
            ]
            assert len(proved) == machine.wish.instances
            for each in proved:
                well_s = machine.now - machine.well[each][1]
                assert well_s >= strategy.min_healthy_time_s - 1e-6
        machine.now += act.after_s


@pytest.mark.parametrize("kind", KINDS)
@given(acts=_acts("look", "die", "jump", "crash", "hang", "heal"))
def test_a_goal_that_never_becomes_healthy_ends_on_the_stable_version(
    kind: Literal["restart", "rolling", "blue-green", "canary"], acts: list[Act]
) -> None:
    machine = _machine(Strategy(kind=kind, healthy_deadline_s=60.0))
    _settle(machine)
    machine.want("B")
    del machine.good["B"]
    for act in acts:
        _happen(machine, act)
    for program in machine.programs.values():
        program.is_down = False
    _settle(machine)
    assert [*machine.digests().values()] == ["A"] * 3
    assert machine.deployment.stable == "A"
    assert standing(machine.deployment, "B").phase is Phase.REVERTED
    assert machine.deployment.rejection("B") is not None
    # And it is not tried again, not even when it comes back.
    runs = machine.runs
    for goal in ("B", "A", "B"):
        machine.want(goal)
        _settle(machine)
    assert machine.runs == runs


@given(strategies, st.floats(-1e9, 1e9))
def test_a_clock_that_jumps_fails_nothing(strategy: Strategy, jump: float) -> None:
    machine = _machine(strategy)
    _settle(machine)
    machine.want("B")
    machine.look()
    machine.clock_error += jump
    machine.look()
    machine.clock_error -= jump
    _settle(machine)
    assert machine.deployment.stable == "B"
    assert machine.deployment.rejected == ()


@given(strategies, _acts("count", "look", "die"))
def test_another_count_is_no_rollout(strategy: Strategy, acts: list[Act]) -> None:
    machine = _machine(strategy)
    _settle(machine)
    runs = {each: program.run for each, program in machine.programs.items()}
    machine.events.clear()
    for act in acts:
        _happen(machine, act)
        for instance, program in machine.programs.items():
            if instance in runs:
                assert program.run == runs[instance]
        runs = {each: program.run for each, program in machine.programs.items()}
    assert machine.events == []
    assert machine.deployment.stable == "A"
