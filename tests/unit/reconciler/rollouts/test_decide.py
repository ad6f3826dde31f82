"""Rollouts, one story each: what an operator sees, and what runs in the end."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest

from reconciler.rollouts.decide import GAP_S, decide
from reconciler.rollouts.decision import InstanceFacts, Order, Wish, Word
from reconciler.rollouts.deployment import MOST_REJECTED, Deployment, Phase, Placed, standing
from reconciler.rollouts.instances import FIRST, Colour, Instance
from reconciler.rollouts.spec import Strategy
from rollingmachine import RollingMachine


def machine(strategy: Strategy | None = None, instances: int = 3) -> RollingMachine:
    """A machine on which version A is stable; A and B are good, others are not."""
    wish = Wish(goal="A", instances=instances, strategy=strategy or Strategy())
    made = RollingMachine(wish, good={"A": 1.0, "B": 1.0})
    made.run_until_quiet()
    made.events.clear()
    return made


def phase(of: RollingMachine) -> Phase:
    return standing(of.deployment, of.wish.goal).phase


def advance(of: RollingMachine, seconds: float) -> None:
    """Look every second for so long."""
    for _ in range(int(seconds)):
        of.now += 1.0
        of.look()


def test_a_first_deployment_that_fails_says_so_and_has_nothing_to_go_back_to() -> None:
    made = RollingMachine(Wish(goal="bad", instances=2))
    made.run_until_quiet()
    assert phase(made) is Phase.FAILED
    assert "no stable version to go back to" in standing(made.deployment, "bad").message
    assert made.digests() == {"blue 1": "bad", "blue 2": "bad"}
    assert made.deployment.stable is None


def test_a_first_deployment_that_failed_and_heals_may_still_become_stable() -> None:
    made = RollingMachine(Wish(goal="late"))
    made.run_until_quiet()
    assert phase(made) is Phase.FAILED
    made.good["late"] = 0.0
    made.run_until_quiet()
    assert phase(made) is Phase.STABLE
    assert made.runs == 1


def test_a_failed_version_is_named_and_tried_again_only_on_demand() -> None:
    made = machine()
    made.want("bad")
    made.run_until_quiet()
    assert phase(made) is Phase.REVERTED
    assert "not healthy in 300 s" in standing(made.deployment, "bad").message
    made.good["bad"] = 1.0
    made.now += 86_400.0
    assert made.look().next_at is None
    made.look(Order(Word.RETRY))
    made.run_until_quiet()
    assert made.deployment.stable == "bad"
    assert made.deployment.rejected == ()


def test_without_auto_revert_a_failed_version_stays_where_it_came_to() -> None:
    made = machine(Strategy(auto_revert=False))
    made.want("bad")
    made.run_until_quiet()
    assert phase(made) is Phase.FAILED
    assert sorted(made.digests().values()) == ["A", "A", "bad"]
    made.want("B")
    made.run_until_quiet()
    assert set(made.digests().values()) == {"B"}


def test_a_stable_version_that_ails_is_never_reverted_to_itself() -> None:
    made = machine()
    made.want("bad")
    made.look()
    del made.good["A"]
    made.run_until_quiet()
    assert phase(made) is Phase.FAILED
    assert "this is the stable version" in standing(made.deployment, "bad").message
    made.good["A"] = 1.0
    made.now += 5.0
    made.run_until_quiet()
    assert phase(made) is Phase.REVERTED


def test_a_program_that_ended_for_good_fails_the_rollout_at_once() -> None:
    made = machine(instances=1)
    made.want("bad")
    made.look()
    facts = {FIRST: InstanceFacts(digest="bad", has_failed=True, reason="exit status 2")}
    decision = decide(made.deployment, made.wish, facts, made.now + 1.0)
    assert decision.assignments[0].digest == "A"
    assert "bad is given up: blue 1 ended for good: exit status 2" in decision.events


def test_a_newer_goal_takes_over_at_once_and_the_stable_version_stays() -> None:
    made = machine()
    made.want("bad")
    advance(made, 20)
    made.want("B")
    made.look()
    assert "bad" not in made.digests().values()
    assert made.deployment.stable == "A"
    made.run_until_quiet()
    assert set(made.digests().values()) == {"B"}
    assert made.deployment.rejected == ()


@pytest.mark.parametrize("order", [(), (Order(Word.ABORT),)])
def test_the_way_back_misses_no_more_instances_than_the_way_forth(order: tuple[Order, ...]) -> None:
    made = machine(Strategy(min_healthy_time_s=1.0), instances=4)
    made.want("B")
    while [*made.digests().values()].count("B") < 3:
        advance(made, 1)
    advance(made, 2)
    if not order:
        made.want("A")
    made.look(*order)
    while made.look().next_at is not None:
        assert len(made.serving()) >= 3
        made.now += 0.5
    assert set(made.digests().values()) == {"A"}


def test_who_is_down_already_is_replaced_first_and_nobody_else_meanwhile() -> None:
    made = machine()
    down = Instance(Colour.BLUE, 3)
    made.programs[down].is_down = True
    made.want("B")
    made.look()
    assert made.digests() == {"blue 1": "A", "blue 2": "A", "blue 3": "B"}
    made.programs[down].is_down = True
    advance(made, 60)
    assert made.digests() == {"blue 1": "A", "blue 2": "A", "blue 3": "B"}


def test_a_proved_instance_that_goes_down_stops_the_rest() -> None:
    made = machine()
    made.want("B")
    advance(made, 14)
    first = next(each for each, program in made.programs.items() if program.digest == "B")
    made.programs[first].is_down = True
    advance(made, 60)
    assert [*made.digests().values()].count("A") == 1
    made.run_until_quiet()
    assert phase(made) is Phase.REVERTED
    assert "no progress in 600 s" in standing(made.deployment, "B").message


def test_green_gets_the_traffic_when_it_is_healthy_and_blue_drains_first() -> None:
    made = machine(Strategy(kind="blue-green", drain_s=30.0), instances=2)
    made.want("B")
    advance(made, 5)
    assert made.colours_with_traffic() == {Colour.BLUE}
    assert len(made.programs) == 4
    advance(made, 10)
    assert made.colours_with_traffic() == {Colour.GREEN}
    assert phase(made) is Phase.DRAINING
    assert len(made.programs) == 4
    made.run_until_quiet()
    assert made.digests() == {"green 1": "B", "green 2": "B"}


def test_a_colour_that_is_drained_early_goes_early() -> None:
    made = machine(Strategy(kind="blue-green", drain_s=500.0), instances=1)
    made.want("B")
    advance(made, 15)
    assert phase(made) is Phase.DRAINING
    facts = {each: replace(said, is_drained=True) for each, said in made.facts().items()}
    decision = decide(made.deployment, made.wish, facts, made.now)
    assert [each.instance for each in decision.assignments] == [Instance(Colour.GREEN, 1)]


def test_a_failed_green_costs_the_blue_ones_nothing() -> None:
    made = machine(Strategy(kind="blue-green"), instances=2)
    runs = {each: program.run for each, program in made.programs.items()}
    made.want("bad")
    made.run_until_quiet()
    assert {each: program.run for each, program in made.programs.items()} == runs
    assert phase(made) is Phase.REVERTED


def test_a_canary_waits_for_promotion_and_no_deadline_passes_meanwhile() -> None:
    made = machine(Strategy(kind="canary", auto_promote=False))
    made.want("B")
    advance(made, 2_000)
    assert phase(made) is Phase.WAITING
    assert made.digests() == {"blue 1": "A", "blue 2": "A", "blue 3": "A", "canary 1": "B"}
    made.look(Order(Word.PROMOTE, "B"))
    made.run_until_quiet()
    assert made.digests() == {"blue 1": "B", "blue 2": "B", "blue 3": "B"}


def test_a_promotion_of_another_version_than_is_under_way_is_not_taken() -> None:
    made = machine(Strategy(kind="canary", auto_promote=False))
    made.want("B")
    advance(made, 15)
    decision = made.look(Order(Word.PROMOTE, "A"))
    assert decision.events == ("not promote: it was about A, which is not under way",)
    assert phase(made) is Phase.WAITING


def test_an_aborted_version_goes_and_is_remembered() -> None:
    made = machine(Strategy(kind="canary", auto_promote=False))
    made.want("B")
    advance(made, 15)
    made.look(Order(Word.ABORT))
    made.run_until_quiet()
    assert made.digests() == {"blue 1": "A", "blue 2": "A", "blue 3": "A"}
    assert "aborted by an operator" in standing(made.deployment, "B").message


def test_a_pause_moves_nothing_and_lets_no_deadline_pass() -> None:
    made = machine()
    made.want("B")
    made.look(Order(Word.PAUSE))
    advance(made, 2_000)
    assert set(made.digests().values()) == {"A"}
    assert phase(made) is Phase.PAUSED
    made.look(Order(Word.RESUME))
    made.run_until_quiet()
    assert set(made.digests().values()) == {"B"}


def test_after_a_pause_whoever_was_begun_with_has_all_of_its_time() -> None:
    made = machine(instances=1)
    made.want("bad")
    made.look()
    made.look(Order(Word.PAUSE))
    advance(made, 2_000)
    made.look(Order(Word.RESUME))
    assert phase(made) is Phase.PROGRESSING
    made.run_until_quiet()
    assert phase(made) is Phase.REVERTED


def test_an_old_proof_does_not_excuse_who_is_down_when_a_rollout_begins() -> None:
    made = machine()
    made.want("B")
    advance(made, 14)
    first = next(each for each, program in made.programs.items() if program.digest == "B")
    made.programs[first].is_down = True
    made.look(Order(Word.PAUSE))
    for goal in ("C", "B"):
        made.want(goal)
        made.look()
    made.look(Order(Word.RESUME))
    made.run_until_quiet()
    assert f"{first} not healthy in 300 s" in standing(made.deployment, "B").message


def test_each_healthy_instance_begins_the_progress_deadline_anew() -> None:
    strategy = Strategy(healthy_deadline_s=30.0, progress_deadline_s=31.0)
    made = machine(strategy, instances=10)
    made.want("B")
    assert made.run_until_quiet() > 100.0
    assert phase(made) is Phase.STABLE


def test_at_rest_nothing_is_remembered_but_what_is_needed_later() -> None:
    made = machine()
    made.want("B")
    made.run_until_quiet()
    assert made.deployment == Deployment(
        stable="B",
        placed=tuple(Placed(colour=Colour.BLUE, index=i, digest="B") for i in (1, 2, 3)),
    )


def test_all_instances_must_be_healthy_long_enough_at_the_same_time() -> None:
    made = machine(Strategy(kind="restart"), instances=2)
    first, second = sorted(made.programs)
    made.want("B")
    made.look()
    made.programs[second].is_down = True
    advance(made, 20)
    made.programs[second].is_down = False
    advance(made, 5)
    made.programs[first].is_down = True
    advance(made, 1)
    made.programs[first].is_down = False
    advance(made, 9)
    assert phase(made) is Phase.PROGRESSING
    advance(made, 3)
    assert phase(made) is Phase.STABLE


def test_a_canary_that_serves_is_not_missed_while_a_live_instance_is_on_its_way_back() -> None:
    made = machine(Strategy(kind="canary"))
    made.want("B")
    advance(made, 13)
    assert made.digests()["blue 1"] == "B"
    advance(made, 3)
    made.good["C"] = 1.0
    made.want("C")
    while made.look().next_at is not None:
        assert len(made.serving()) >= 3
        made.now += 0.5
    assert set(made.digests().values()) == {"C"}


@pytest.mark.parametrize("word", [Word.PROMOTE, Word.ABORT, Word.RETRY])
def test_a_word_that_makes_no_sense_now_changes_nothing(word: Word) -> None:
    made = machine()
    before = made.deployment
    assert made.look(Order(word)).events[0].startswith(f"not {word}: ")
    assert made.deployment == before


def test_time_in_which_nobody_looked_does_not_count() -> None:
    made = machine(Strategy(min_healthy_time_s=2 * GAP_S), instances=1)
    made.want("B")
    made.look()
    made.now += 1.0
    made.look()
    made.now += 1_000.0
    made.look()
    assert phase(made) is Phase.PROGRESSING


def test_a_program_that_was_started_again_was_not_healthy_before() -> None:
    made = machine(instances=1)
    made.good["B"] = 0.0
    made.want("B")
    made.look()
    for _ in range(30):
        made.now += 5.0
        made.start(FIRST, "B")
        made.look()
    assert phase(made) is Phase.PROGRESSING


def test_health_with_breaks_is_not_added_up() -> None:
    made = machine(instances=1)
    made.want("B")
    made.look()
    advance(made, 5)
    for _ in range(10):
        made.programs[FIRST].is_down = True
        advance(made, 1)
        made.programs[FIRST].is_down = False
        advance(made, 8)
        assert phase(made) is Phase.PROGRESSING
    advance(made, 8)
    assert phase(made) is Phase.STABLE


def test_without_probes_an_instance_is_healthy_while_it_runs() -> None:
    made = RollingMachine(Wish(goal="quiet"), is_probed=False)
    made.run_until_quiet()
    assert phase(made) is Phase.STABLE


def test_what_ran_before_anything_was_remembered_is_taken_as_it_is() -> None:
    made = RollingMachine(Wish(goal="A"), good={"A": 0.0})
    made.start(FIRST, "A")
    made.run_until_quiet()
    assert made.runs == 1
    assert made.deployment.stable == "A"
    made.deployment = Deployment()
    made.want("B")
    made.good["B"] = 1.0
    made.wish = replace(made.wish, strategy=Strategy(kind="blue-green"))
    made.run_until_quiet()
    assert made.digests() == {"green 1": "B"}


def test_only_so_many_failed_versions_are_remembered_and_the_oldest_goes() -> None:
    made = machine(Strategy(kind="blue-green"), instances=1)
    for number in range(MOST_REJECTED + 2):
        made.want(f"bad{number}")
        made.run_until_quiet()
    assert len(made.deployment.rejected) == MOST_REJECTED
    assert made.deployment.rejection("bad1") is None
    assert made.deployment.rejection("bad2") is not None


def test_a_fleet_of_a_hundred_takes_part_after_part() -> None:
    made = machine(Strategy(max_parallel=25, min_healthy_time_s=1.0), instances=100)
    made.want("B")
    most = 0
    for _ in range(200):
        decision = made.look()
        most = max(most, 100 - len(made.serving()))
        if decision.next_at is None:
            break
        made.now = decision.next_at
    assert set(made.digests().values()) == {"B"}
    assert most == 25


def test_the_way_back_keeps_to_the_deadlines_of_the_stable_version() -> None:
    patient = Strategy(min_healthy_time_s=30.0, healthy_deadline_s=90.0, progress_deadline_s=100.0)
    hasty = Strategy(min_healthy_time_s=1.0, healthy_deadline_s=2.0, progress_deadline_s=3.0)
    made = machine(patient, instances=1)
    made.good["A"] = 40.0
    made.wish = replace(made.wish, goal="bad", strategy=hasty, fallback=patient)
    made.run_until_quiet()
    # Slower than the new version may be, and as good as it was.
    assert phase(made) is Phase.REVERTED
    assert made.events[-1] == "A runs everywhere again"
    assert made.now - made.well[FIRST][1] >= 30.0


def test_a_way_back_that_failed_and_heals_says_that_the_version_runs_again() -> None:
    made = machine(instances=1)
    made.want("bad")
    made.good.pop("A")
    made.run_until_quiet()
    assert phase(made) is Phase.FAILED
    made.good["A"] = 0.0
    made.run_until_quiet()
    assert phase(made) is Phase.REVERTED
    assert made.events[-1] == "A runs everywhere again"


@pytest.mark.parametrize("kind", ["restart", "rolling", "blue-green", "canary"])
def test_an_instance_with_a_drain_hook_goes_when_that_says_so_or_has_had_its_time(
    kind: Literal["restart", "rolling", "blue-green", "canary"],
) -> None:
    made = machine(Strategy(kind=kind, drain_s=50.0), instances=1)
    made.drain_hooks["A"] = 10.0
    made.want("B")
    while not any(each.draining_since is not None for each in made.deployment.placed):
        advance(made, 1)
    advance(made, 58)
    assert made.digests()["blue 1"] == "A"
    advance(made, 3)
    assert made.digests().get("blue 1") != "A"


def test_a_drain_hook_that_is_content_ends_the_drain_however_long_that_may_be() -> None:
    made = machine(Strategy(drain_s=500.0), instances=1)
    made.drain_hooks["A"] = 10.0
    made.want("B")
    made.look()
    assert made.digests() == {"blue 1": "A"}
    assert not made.programs[FIRST].takes_traffic
    made.drained.add(FIRST)
    advance(made, 1)
    assert made.digests() == {"blue 1": "B"}


def test_an_instance_drains_for_its_hook_alone() -> None:
    made = machine(instances=1)
    made.drain_hooks["A"] = 10.0
    made.want("B")
    advance(made, 8)
    assert made.digests() == {"blue 1": "A"}
    # It ended, and not well.
    made.drain_hooks.clear()
    advance(made, 1)
    assert made.digests() == {"blue 1": "B"}
