"""``python -m simulation``: meshes in virtual time, a table of bounds; status 1 if one is missed.

The same seed finds the same; what is missed says how to replay it.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from simulation.scenarios import SCENARIOS, run, scale_of
from simulation.stage import Stage

if TYPE_CHECKING:
    from simulation.result import Result

SMALLEST, LARGEST = 5, 5000


def main() -> None:
    """Run what is asked for, show the table, and judge."""
    arguments = parse()
    people = Console(stderr=True)
    results: list[Result] = []
    traces: list[str] = []
    scale = scale_of(arguments.nodes, is_quick=arguments.quick)
    for name in [arguments.scenario] if arguments.scenario else SCENARIOS:
        with people.status(name) as status:
            stage = Stage(name, arguments.seed, scale, status.update, arguments.trace)
            found = run(stage)
        for each in found:
            people.print(f"{name}: {each.what}: {each.figure:.4g} {each.unit}", soft_wrap=True)
        results += found
        traces += [f"trace of {name}: {world.trace}" for world in stage.worlds if world.trace]
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(each) for each in results]) + "\n")
    else:
        show(results, traces)
    raise SystemExit(0 if all(each.is_met for each in results) else 1)


def parse() -> argparse.Namespace:
    """The arguments; ends with status 2 if they make no sense."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--nodes", type=int, default=25, help=f"{SMALLEST} to {LARGEST}")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same run")
    parser.add_argument("--scenario", choices=["", *SCENARIOS], default="", help="all, if not said")
    parser.add_argument("--quick", action="store_true", help="a tenth of the virtual time")
    parser.add_argument("--json", action="store_true", help="the results as JSON, no table")
    parser.add_argument("--trace", action="store_true", help="print a digest of all that happened")
    arguments = parser.parse_args()
    if not SMALLEST <= arguments.nodes <= LARGEST:
        parser.error(f"--nodes must lie between {SMALLEST} and {LARGEST}")
    return arguments


def show(results: list[Result], traces: list[str]) -> None:
    """The table, then what to do about misses."""
    console = Console()
    grid = Table(title="the mesh, simulated")
    for column in ("what", "nodes", "figure", "bound", "", "virtual s", "CPU s"):
        is_number = column in ("nodes", "figure", "virtual s", "CPU s")
        grid.add_column(column, justify="right" if is_number else "left")
    for each in results:
        figure = f"{each.figure:.4g} {each.unit}"
        verdict = "[green]met" if each.is_met else "[bold red]MISSED"
        virtual, took = f"{each.virtual_s:.0f}", f"{each.took_s:.1f}"
        what = f"{each.scenario}: {each.what}"
        grid.add_row(what, str(each.nodes), figure, each.bound, verdict, virtual, took)
    console.print(grid)
    for each in results:
        if each.detail:
            console.print(f"{each.scenario}, {each.nodes} nodes: {each.detail}", soft_wrap=True)
        if not each.is_met:
            console.print(f"[bold red]MISSED[/]; to replay: {each.replay}", soft_wrap=True)
    for line in traces:
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
