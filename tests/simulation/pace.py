"""How fast the simulator is, and how much memory it takes."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Final

from simulation.stage import Stage, is_one, seeds_for
from simulation.world import start_mesh

if TYPE_CHECKING:
    from simulation.result import Result

_VIRTUAL_S: Final = 60.0
_CPU_S: Final = 120.0
_MEMORY_MIB: Final = 2048.0


def speed(stage: Stage) -> tuple[Result, ...]:
    """A minute from a cold start, when each node knows two of a few seeds."""
    size = stage.scale.nodes
    world = stage.world()
    began = time.process_time()
    start_mesh(world, size, seeds_for(size))
    formed_s = stage.until(world, lambda: is_one(world), _VIRTUAL_S, "from a cold start")
    stage.run(world, _VIRTUAL_S - world.now, "after it")
    took_s = time.process_time() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    detail = f"one membership after {formed_s:.1f} s, {world.sent_messages} messages"
    what = f"CPU for {_VIRTUAL_S:.0f} s from a cold start"
    return (
        stage.result(what, size, took_s, "s", at_most=_CPU_S, detail=detail),
        stage.result("memory of that", size, memory, "MiB", at_most=_MEMORY_MIB),
    )
