"""Meshes in virtual time: what ``make simulate`` finds, with one seed.

Each scenario is run once, in a process of its own: the same seed finds the same but for the time
that it takes, and memory is counted from nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Final

from bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED: Final = 7
# Nodes of a realm by scenario, as large as twenty minutes for all of them allow.
SIZES: Final = {
    "speed": 1000,
    "detection": 200,
    "news": 200,
    "table": 1000,
    "churn": 200,
    "partition": 200,
    "quiet": 200,
}
FULL: Final = 1000
# A scenario that takes longer does not end.
_PATIENCE_S: Final = 4 * 3600


def figures(runs: int) -> Iterator[Figure]:
    """Realms of the sizes that a run between two changes can wait for, living a tenth as long."""
    del runs  # the same seed finds the same
    for scenario, nodes in SIZES.items():
        yield from _found(scenario, nodes, "--quick")


def full_figures(runs: int) -> Iterator[Figure]:
    """The sizes of the table in docs/performance.md."""
    del runs
    for scenario in SIZES:
        yield from _found(scenario, FULL)


def _found(scenario: str, nodes: int, *options: str) -> Iterator[Figure]:
    command = [sys.executable, "-m", "simulation", "--json", "--scenario", scenario]
    command += ["--nodes", str(nodes), "--seed", str(SEED), *options]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=_PATIENCE_S, check=False
    )
    # Status 1 is a bound that was missed; the figure says so itself.
    if done.returncode not in (0, 1):
        raise RuntimeError(f"simulation of {scenario} failed with status {done.returncode}")
    for found in json.loads(done.stdout):
        yield Figure(
            name=f"{scenario}, {found['nodes']} nodes: {found['what']}",
            unit=found["unit"],
            runs=(found["figure"],),
            at_most=found["at_most"],
            at_least=found["at_least"],
        )
