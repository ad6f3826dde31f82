"""What every scenario begins with: how large, which seed, who is told of progress; and a mesh."""

from __future__ import annotations

import gc
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from simulation.result import Result
from simulation.world import World, start_mesh

if TYPE_CHECKING:
    from maculaos.effects import Note
    from simulation.faults import Faults
    from simulation.hosts import Host

# A mesh that needs longer than this to form is broken, not slow.
PATIENCE_S: Final = 120.0
# Each node is told two seeds, and a seed takes no more than 256 links at a time.
_NODES_PER_SEED: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a scenario is; the full sizes are those of the table in docs/performance.md."""

    nodes: int = 1000
    # Of undisturbed life, and of a partition, in virtual seconds.
    quiet_s: float = 3600.0
    partition_s: float = 3600.0
    churn_s: float = 600.0
    # Nodes and lookups of the largest table; and how often a failure is repeated.
    table_nodes: int = 10_000
    lookups: int = 2000
    repeats: int = 5
    # Whether all this is a tenth of what it could be.
    is_quick: bool = False


@dataclass
class Stage:
    """One run of one scenario: ``tell`` hears how far it is."""

    scenario: str
    seed: int
    scale: Scale
    tell: Callable[[str], None] = lambda _: None
    is_traced: bool = False
    worlds: list[World] = field(default_factory=list)
    _began: float = field(default_factory=time.process_time)

    @property
    def replay(self) -> str:
        """The command that runs the same again."""
        quick = " SIMULATE_ARGS=--quick" if self.scale.is_quick else ""
        size = f"N={self.scale.nodes} SEED={self.seed}"
        return f"make simulate SCENARIO={self.scenario} {size}{quick}"

    def world(self, faults: Faults | None = None) -> World:
        """A world without nodes."""
        world = World(self.seed, faults, is_traced=self.is_traced)
        world.replayed_by = self.replay
        self.worlds.append(world)
        return world

    def mesh(self, size: int, faults: Faults | None = None) -> World:
        """A world with a mesh of that size, in which everybody knows everybody."""
        world = self.world(faults)
        self.tell(f"{self.scenario}: {size} nodes start")
        start_mesh(world, size, seeds_for(size))
        self.until(world, lambda: is_one(world), PATIENCE_S, "the mesh forms")
        return world

    def run(self, world: World, seconds: float, what: str) -> None:
        """Let time pass, telling of it."""
        end = world.now + seconds
        while world.now < end:
            world.run_until(min(end, world.now + 1.0))
            self.tell(
                f"{self.scenario}: {what}: {seconds - end + world.now:.0f} of {seconds:.0f} s"
            )

    def until(self, world: World, holds: Callable[[], bool], within_s: float, what: str) -> float:
        """Run until it holds, asked each half second; how long that took, in virtual seconds."""
        started = world.now
        while not holds():
            assert world.now - started < within_s, (
                f"{what}: not within {within_s} s; {world.replay}"
            )
            self.run(world, 0.5, what)
        return world.now - started

    def result(self, what: str, nodes: int, figure: float, unit: str, **more: Any) -> Result:
        """A result with what it cost so far."""
        more.setdefault("virtual_s", sum(world.now for world in self.worlds))
        return Result(
            scenario=self.scenario,
            what=what,
            nodes=nodes,
            seed=self.seed,
            replay=self.replay,
            figure=figure,
            unit=unit,
            took_s=time.process_time() - self._began,
            **more,
        )


def seeds_for(size: int) -> int:
    """How many seeds a mesh of that size needs when all its nodes start at once."""
    return max(1, size // _NODES_PER_SEED)


def is_one(world: World) -> bool:
    """Whether all that run hold each other, and nobody else, for members that are alive."""
    running = world.running
    expected = {"alive": len(running), "suspect": 0, "dead": 0}
    return all(_present(world.counts(host.name)) == expected for host in running)


def is_connected(hosts: list[Host]) -> bool:
    """Whether links join all of these, over these."""
    if not hosts:
        return True
    names = {host.name for host in hosts}
    seen, waiting = {hosts[0].name}, deque(hosts[:1])
    while waiting:
        for other in waiting.popleft().neighbours:
            if other.is_running and other.name in names and other.name not in seen:
                seen.add(other.name)
                waiting.append(other)
    return len(seen) == len(names)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """What lives to the end is no garbage: looking through it again and again takes half the time.

    Nodes that died are let go by hand, between scenarios.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


@dataclass
class Verdicts:
    """What nodes say of each other, by their notes: who noted which health of whom, and when."""

    world: World
    suspicions: int = 0
    # Of members that ran when they were declared dead.
    false_deaths: int = 0
    # By member and health: when each node noted that first.
    noted: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    # Nobody else is of interest; all are, if nobody is named.
    watched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.world.observers.append(self._hear)

    def watch(self, member: str) -> None:
        """From now on note what is said of that member, anew."""
        self.watched.add(member)
        for key in [key for key in self.noted if key[0] == member]:
            del self.noted[key]

    def times(self, member: str, health: str) -> dict[str, float]:
        """Who noted that of the member, and when."""
        return self.noted.get((member, health), {})

    def _hear(self, host: Host, note: Note) -> None:
        if note.event != "member_changed":
            return
        facts = dict(note.facts)
        member, health = facts["member"], facts["health"]
        if health == "suspect":
            self.suspicions += 1
        elif health == "dead" and self.world.hosts[member].is_running:
            self.false_deaths += 1
        if member in self.watched and member != host.name:
            self.noted.setdefault((member, health), {}).setdefault(host.name, self.world.now)


def _present(counts: dict[str, int]) -> dict[str, int]:
    """The counts without those that left."""
    return {health: counts[health] for health in ("alive", "suspect", "dead")}
