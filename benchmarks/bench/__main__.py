"""``python -m bench``: measure, show a table, keep the figures; status 1 if not all is well."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from bench import links, mesh, messaging, reconciler, simulation
from bench.figures import Figure, keep, show
from bench.parts import PartFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITES = {
    "links": links.figures,
    "mesh": mesh.figures,
    "messaging": messaging.figures,
    "reconciler": reconciler.figures,
    "simulation": simulation.figures,
    "simulation-full": simulation.full_figures,
}
# Only when they are named: they take more than an hour.
LONG = ("simulation-full",)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "suites", nargs="*", choices=[[], *SUITES], help="all but long ones, if none is named"
    )
    parser.add_argument("--runs", type=int, default=5, help="of each figure (1 to 100)")
    parser.add_argument("--out", type=Path, default=Path("var/bench.json"), help="the JSON file")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="go before every other program of this machine, which must wait (needs root)",
    )
    arguments = parser.parse_args()
    if not 1 <= arguments.runs <= 100:
        parser.error("--runs must lie between 1 and 100")
    if arguments.realtime:
        # What is started from here inherits it.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    try:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.open("a").close()
    except OSError as error:
        parser.error(f"--out cannot be written: {error}")
    found: list[Figure] = []
    names = arguments.suites or [each for each in SUITES if each not in LONG]
    try:
        is_whole = _measure(names, arguments.runs, found)
    finally:
        # However it ends: it took long.
        if found:
            keep(found, arguments.out)
    show(found)
    raise SystemExit(0 if is_whole and all(figure.is_met for figure in found) else 1)


def _measure(names: Sequence[str], runs: int, found: list[Figure]) -> bool:
    """Add the figures of each suite to ``found``, as they come; whether none of them failed."""
    people, is_whole = Console(stderr=True), True
    for name in names:
        try:
            for figure in SUITES[name](runs):
                people.print(f"{name}: {figure.name}: {figure.median:.3g} {figure.unit}")
                found.append(figure)
        except PartFailed as error:
            is_whole = False
            people.print(f"{name}: {error}", markup=False)
    return is_whole


if __name__ == "__main__":
    main()
