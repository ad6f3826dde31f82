"""``python -m simulation --nodes N --seed S``: how fast a mesh of that size forms and notices."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from simulation.world import World, start_mesh

PATIENCE_S = 120.0


def main() -> None:
    """Run one life of a mesh and print what took how long, in virtual seconds."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--nodes", type=int, default=7, help="how many nodes (3 to 200)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same run")
    arguments = parser.parse_args()
    if not 3 <= arguments.nodes <= 200:
        parser.error("--nodes must lie between 3 and 200")
    world = World(arguments.seed)
    try:
        times = live(world, arguments.nodes)
    except AssertionError as failure:
        raise SystemExit(f"failed: {failure}") from failure
    show(world, times)


def live(world: World, size: int) -> dict[str, float]:
    """Form, lose a node, get it back, split, heal; return each phase's virtual seconds."""
    names = start_mesh(world, size)
    victim, rest = names[-1], names[:-1]
    times = {"full mesh from one seed peer": _until_mesh(world, names)}
    world.run_for(20.0)
    world.kill(victim)
    times["kill -9: first suspicion"] = world.run_until_true(
        lambda: any(world.health(name, victim) == "suspect" for name in rest), PATIENCE_S
    )
    times["kill -9: dead everywhere, after that"] = world.run_until_true(
        lambda: all(world.health(name, victim) == "dead" for name in rest), PATIENCE_S
    )
    world.start(victim, peers=(world.hosts[names[0]].address,))
    times["restart: full mesh again"] = _until_mesh(world, names)
    world.partition(names[: size // 2])
    world.run_for(120.0)
    world.faults.heal()
    times["two minutes of partition: full mesh again"] = _until_mesh(world, names)
    return times


def show(world: World, times: dict[str, float]) -> None:
    """Print the table, and the digest that two equal runs share."""
    table = Table(title=f"{len(world.hosts)} nodes, seed {world.seed}, virtual time")
    table.add_column("what")
    table.add_column("seconds", justify="right")
    for what, seconds in times.items():
        table.add_row(what, f"{seconds:.2f}")
    console = Console()
    console.print(table)
    console.print(f"{world.sent_messages} messages, trace {world.trace}", soft_wrap=True)


def _until_mesh(world: World, names: tuple[str, ...]) -> float:
    return world.run_until_true(lambda: world.is_whole(*names), PATIENCE_S)


if __name__ == "__main__":
    main()
