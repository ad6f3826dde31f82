"""Small versions of every scenario keep its bound; ``make simulate N=1000`` runs the large ones."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulation.result import Result
from simulation.scenarios import SCENARIOS, run, scale_of
from simulation.stage import Stage, is_connected, is_one
from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation

SMALL = replace(
    scale_of(12, is_quick=True),
    table_nodes=300,
    lookups=120,
    quiet_s=120.0,
    partition_s=120.0,
    churn_s=30.0,
)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("seed", [1, 2])
def test_every_scenario_keeps_its_bound_when_small(scenario: str, seed: int) -> None:
    results = run(Stage(scenario, seed, SMALL))
    assert results
    assert all(each.is_met for each in results), results


def test_a_scenario_that_waits_in_vain_misses_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(stage: Stage) -> tuple[Result, ...]:
        world = stage.world()
        stage.until(world, lambda: False, 3.0, "waiting")
        raise RuntimeError

    monkeypatch.setitem(SCENARIOS, "endless", endless)
    (missed,) = run(Stage("endless", 9, SMALL))
    assert not missed.is_met
    assert "waiting: not within 3.0 s; seed 9" in missed.detail
    command = "make simulate SCENARIO=endless N=12 SEED=9 SIMULATE_ARGS=--quick"
    assert missed.replay == command


def test_a_bound_is_met_up_to_itself_and_missed_beyond() -> None:
    result = Result(scenario="x", what="x", nodes=5, seed=1, replay="", figure=1.0, unit="s")
    assert result.is_met
    assert replace(result, at_most=1.0, at_least=1.0).is_met
    assert not replace(result, at_most=0.9).is_met
    assert not replace(result, at_least=1.1).is_met


def test_a_mesh_is_one_only_while_everybody_sees_everybody_alive() -> None:
    world = World(1)
    names = start_mesh(world, 5)
    assert not is_one(world)
    world.run_until_true(lambda: is_one(world), 10.0)
    world.partition(names[:2])
    world.run_for(30.0)
    assert not is_one(world)


def test_a_graph_in_parts_is_not_connected() -> None:
    world = World(1)
    names = start_mesh(world, 6)
    world.run_for(20.0)
    assert is_connected(world.running)
    world.partition(names[:3])
    world.run_for(15.0)
    assert not is_connected(world.running)
    assert is_connected([world.hosts[name] for name in names[:3]])
