"""The scenarios by name, and how one is run: whatever happens, it ends in results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from simulation import failures, news, pace, searches
from simulation.stage import Scale, Stage, quiet_collector

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulation.result import Result

#: The pace comes first: the memory of a process never shrinks.
SCENARIOS: Final[dict[str, Callable[[Stage], tuple[Result, ...]]]] = {
    "speed": pace.speed,
    "detection": failures.detection,
    "news": news.news,
    "table": searches.table,
    "churn": searches.churn,
    "partition": failures.partition,
    "quiet": failures.quiet,
}


def scale_of(nodes: int, *, is_quick: bool = False) -> Scale:
    """The sizes of every scenario for a mesh of that many nodes; quick ones live a tenth."""
    if not is_quick:
        return Scale(nodes=nodes, table_nodes=10 * nodes, repeats=5 if nodes <= 100 else 3)
    return Scale(
        nodes=nodes,
        table_nodes=10 * nodes,
        quiet_s=360.0,
        partition_s=360.0,
        churn_s=60.0,
        lookups=500,
        repeats=2,
        is_quick=True,
    )


def run(stage: Stage) -> tuple[Result, ...]:
    """What a scenario found; one that waits in vain found that it missed its bound."""
    with quiet_collector():
        try:
            return SCENARIOS[stage.scenario](stage)
        except AssertionError as failure:
            said, size = str(failure), stage.scale.nodes
            return (stage.result("did not end", size, 1, "failures", at_most=0, detail=said),)
