"""How fast news of one member reaches all others, in rounds of gossip."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from maculaos.settings import SwimSettings
from simulation.faults import Faults
from simulation.stage import PATIENCE_S, Stage, Verdicts

if TYPE_CHECKING:
    from simulation.result import Result
    from simulation.world import World

_ROUND_S: Final = SwimSettings().gossip_interval_s


def news(stage: Stage) -> tuple[Result, ...]:
    """Nodes come and take their leave, one after the other, with 1 % loss."""
    size = stage.scale.nodes
    world = stage.mesh(size, Faults(loss=0.01))
    stage.run(world, 20.0, "settling")
    verdicts = Verdicts(world)
    rounds = [_told(stage, world, verdicts, f"late{turn}") for turn in range(stage.scale.repeats)]
    slowest = max(max(pair) for pair in rounds)
    told = "; ".join(f"came {came:.1f}, left {left:.1f}" for came, left in rounds)
    detail = f"rounds of {_ROUND_S:g} s: {told}"
    bound = 3 * math.log2(size)
    what = "news reaches all"
    return (stage.result(what, size, slowest, "rounds", at_most=bound, detail=detail),)


def _told(stage: Stage, world: World, verdicts: Verdicts, name: str) -> tuple[float, float]:
    """The rounds until everybody knew that a node came, and that it left."""
    size = stage.scale.nodes
    seed = world.rng.choice(world.running)
    verdicts.watch(name)
    world.start(name, peers=(seed.address,))
    came = _rounds(stage, verdicts, name, "alive", size)
    stage.run(world, 5.0, "settling")
    world.leave(name)
    left = _rounds(stage, verdicts, name, "left", size)
    stage.run(world, 5.0, "settling")
    return came, left


def _rounds(stage: Stage, verdicts: Verdicts, name: str, health: str, listeners: int) -> float:
    """From the first who knew to the last."""
    times = verdicts.times
    what = f"{name} is {health}"
    stage.until(verdicts.world, lambda: len(times(name, health)) >= listeners, PATIENCE_S, what)
    known = times(name, health).values()
    return (max(known) - min(known)) / _ROUND_S
