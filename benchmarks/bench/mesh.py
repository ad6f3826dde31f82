"""A mesh of real nodes on one machine: how soon it forms and misses the dead, and what it costs.

Nodes run with the shipped settings, five in each process, over real QUIC on the loopback. The
programs are loaded before the clock starts: what is measured is the mesh, not the start of Python.
Seconds of the clock need a quiet machine; those of the CPU hold on a busy one, too.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.figures import Figure
from crowd import Crowd, crowd

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crowd import View

COUNT = 25
PER_PROCESS = 5
PATIENCE_S = 120.0
REST_S = 10.0
# Nodes that are all linked with one: so many links of one node, and as many of the others.
STARS = (25, 100)
STARS_MIB = {25: 60.0}
# So many of the others start at a time, in one process.
PART = 25
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Formed:
    """One life of a mesh: seconds of the clock and of the CPU, and MiB."""

    converged_s: float
    start_cpu_s: float
    detected_s: float
    healed_s: float
    returned_s: float
    node_mib: float
    rest_cpu_percent: float


def figures(runs: int) -> Iterator[Figure]:
    """Every figure of meshes."""
    lives = [asyncio.run(_live()) for _ in range(runs)]

    def all_of(name: str) -> tuple[float, ...]:
        return tuple(getattr(life, name) for life in lives)

    mesh = f"{COUNT} nodes"
    yield Figure(name=f"{mesh}: cold start", unit="s", runs=all_of("converged_s"), at_most=5.0)
    yield Figure(name=f"{mesh}: cold start, CPU of all", unit="s", runs=all_of("start_cpu_s"))
    yield Figure(
        name=f"{mesh}: kill -9 of {PER_PROCESS}, known to all",
        unit="s",
        runs=all_of("detected_s"),
        at_most=10.0,
    )
    yield Figure(name=f"{mesh}: and relinked", unit="s", runs=all_of("healed_s"))
    yield Figure(name=f"{mesh}: the killed are back", unit="s", runs=all_of("returned_s"))
    yield Figure(
        name=f"{mesh}: one at rest, CPU", unit="%", runs=all_of("rest_cpu_percent"), at_most=1.0
    )
    yield Figure(name=f"{mesh}: one more in a process", unit="MiB", runs=all_of("node_mib"))
    for links in STARS:
        sizes = tuple(asyncio.run(_star(links)) for _ in range(runs))
        yield Figure(
            name=f"process of a node with {links} links",
            unit="MiB",
            runs=sizes,
            at_most=STARS_MIB.get(links),
        )


async def _live() -> Formed:
    """A mesh forms, rests, loses a process of nodes, and gets them back."""
    async with crowd(COUNT) as there:
        groups = [
            there.names[first : first + PER_PROCESS] for first in range(0, COUNT, PER_PROCESS)
        ]
        await there.load(*groups)
        empty_kib = sum(map(there.resident_kib, groups))
        cpu_s = sum(map(there.cpu_s, groups))
        converged_s = await _started(there, groups)
        start_cpu_s = sum(map(there.cpu_s, groups)) - cpu_s
        # Links beyond those that are wanted go after the grace.
        wanted = there.wanted(there.names)
        await there.until(
            lambda view: view.linked == wanted[view.name], PATIENCE_S, "no other links"
        )
        rest_percent = await _resting(there, groups)
        node_mib = (sum(map(there.resident_kib, groups)) - empty_kib) / COUNT / 1024
        lost = groups[-1]
        detected_s, healed_s = await _lost(there, lost)
        await there.load(lost)
        returned_s = await _started(there, [lost])
    return Formed(
        converged_s, start_cpu_s, detected_s, healed_s, returned_s, node_mib, rest_percent
    )


async def _started(there: Crowd, groups: list[tuple[str, ...]]) -> float:
    """Start loaded nodes; how long until all have formed."""
    began = time.perf_counter()
    await there.start(*groups)
    await there.until(there.has_formed(there.names), PATIENCE_S, "all have formed")
    return time.perf_counter() - began


async def _resting(there: Crowd, groups: list[tuple[str, ...]]) -> float:
    """Per cent of one core that one node takes while nobody asks anything."""
    before = sum(map(there.cpu_s, groups))
    await asyncio.sleep(REST_S)
    return 100 * (sum(map(there.cpu_s, groups)) - before) / REST_S / COUNT


async def _lost(there: Crowd, group: tuple[str, ...]) -> tuple[float, float]:
    """Kill some; how long until all others know, and until they are linked as is wanted."""
    began = time.perf_counter()
    await there.kill(group)
    left = [name for name in there.names if name not in group]

    def knows(view: View) -> bool:
        return all(view.healths[name] == "dead" for name in group)

    await there.until(knows, PATIENCE_S, "the dead are known")
    detected_s = time.perf_counter() - began
    await there.until(there.has_formed(left), PATIENCE_S, "the gap is closed")
    return detected_s, time.perf_counter() - began


async def _star(links: int) -> float:
    """MiB of a process with one node that is linked with so many others."""
    # All others know the first only, and no link is closed within the grace. A small degree and a
    # start in parts keep down what the others do meanwhile: they are not what is measured.
    async with crowd(links + 1, "topology: {degree: 2, grace_s: 3600.0}\n") as there:
        centre = there.names[0]
        await there.load((centre,))
        await there.start()
        for first in range(1, links + 1, PART):
            others = there.names[first : first + PART]
            await there.load(others)
            await there.start(others)
            await _linked(there, centre, first - 1 + len(others))
        return there.resident_kib((centre,)) / 1024


async def _linked(there: Crowd, centre: str, links: int) -> None:
    """Wait until that node has so many links."""
    async with asyncio.timeout(PATIENCE_S):
        # Polled: the control socket tells of no new link by itself.
        while len((await there.view(centre)).linked) < links:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
