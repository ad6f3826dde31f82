"""Who is taken for dead: nobody who lives, everybody who does not, and soon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulation.faults import Faults
from simulation.stage import PATIENCE_S, Stage, Verdicts, is_one

if TYPE_CHECKING:
    from simulation.result import Result
    from simulation.world import World

# By how many nodes, within how many seconds all must know of a death.
_DETECTION: Final = ((20, 10.0), (100, 15.0), (10_000, 30.0))
_PARTITION_HEALS_S: Final = 60.0


def quiet(stage: Stage) -> tuple[Result, ...]:
    """Nothing happens but loss, duplicates, stragglers and clocks that go wrong."""
    scale = stage.scale
    faults = Faults(
        loss=0.01, duplication=0.001, reordering=0.01, clock_skew_s=1.0, clock_drift=1e-4
    )
    world = stage.mesh(scale.nodes, faults)
    verdicts = Verdicts(world)
    stage.run(world, scale.quiet_s, "quiet life")
    what = f"living members declared dead in {scale.quiet_s:.0f} s"
    detail = f"{verdicts.suspicions} notes of a suspicion"
    deaths = verdicts.false_deaths
    return (stage.result(what, scale.nodes, deaths, "deaths", at_most=0, detail=detail),)


def detection(stage: Stage) -> tuple[Result, ...]:
    """Nodes are killed one after the other, and come back; meshes of several sizes."""
    largest = stage.scale.nodes
    sizes = [size for size, _ in _DETECTION if size < largest]
    return tuple(_detected(stage, size) for size in (*sizes, largest))


def partition(stage: Stage) -> tuple[Result, ...]:
    """One half of the nodes loses the other for long."""
    scale = stage.scale
    world = stage.mesh(scale.nodes)
    names = list(world.hosts)
    half = tuple(world.rng.sample(names, len(names) // 2))
    world.partition(half)
    stage.run(world, scale.partition_s, "cut in two")
    apart = world.counts(names[0])
    world.faults.heal()
    seconds = stage.until(world, lambda: is_one(world), 10 * _PARTITION_HEALS_S, "healing")
    what = f"one membership after {scale.partition_s:.0f} s in two"
    detail = f"one node before: {apart}"
    bound = _PARTITION_HEALS_S
    return (stage.result(what, scale.nodes, seconds, "s", at_most=bound, detail=detail),)


def _detected(stage: Stage, size: int) -> Result:
    """The slowest of several deaths, until everybody knew."""
    world = stage.mesh(size)
    stage.run(world, 20.0, "settling")
    verdicts = Verdicts(world)
    slowest = [_death(stage, world, verdicts) for _ in range(stage.scale.repeats)]
    bound = next(bound for upto, bound in _DETECTION if size <= upto)
    detail = ", ".join(f"{seconds:.1f}" for seconds in sorted(slowest))
    detail = f"{detail}; {verdicts.false_deaths} living ones declared dead"
    what = "kill -9: known to all"
    return stage.result(what, size, max(slowest), "s", at_most=bound, detail=detail)


def _death(stage: Stage, world: World, verdicts: Verdicts) -> float:
    victim = world.rng.choice(list(world.hosts))
    others = len(world.hosts) - 1
    verdicts.watch(victim)
    world.kill(victim)
    killed_at = world.now
    times = verdicts.times
    stage.until(
        world, lambda: len(times(victim, "dead")) >= others, PATIENCE_S, f"{victim} is dead"
    )
    seconds = max(times(victim, "dead").values()) - killed_at
    seed = next(host for host in world.running if host.name != victim)
    world.start(victim, peers=(seed.address,))
    stage.until(world, lambda: is_one(world), PATIENCE_S, f"{victim} is back")
    stage.run(world, 5.0, "settling")
    return seconds
