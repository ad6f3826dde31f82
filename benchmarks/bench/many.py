"""``python -m bench.many COUNT RUNS``: one reconciler with many apps, in a process of its own.

The runtime holds its jails in memory, so what is measured is the reconciler: Git, specs, plan,
state. Prints one JSON object: seconds of each pass, and the largest resident set.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from typing import TYPE_CHECKING

from bench.site import a_bench, changed, repository

if TYPE_CHECKING:
    from reconciling import Bench, Running

PATIENCE_S = 300.0


async def measure(bench: Bench, runs: int) -> dict[str, list[float]]:
    """Passes with nothing to do, then passes that follow a change of one line."""
    found: dict[str, list[float]] = {"idle_cpu_s": [], "change_s": [], "first_s": []}
    async with bench.running(within_s=PATIENCE_S) as running:
        began = time.perf_counter()
        await _sync(running)
        found["first_s"].append(time.perf_counter() - began)
        for number in range(runs):
            before = _cpu_s()
            await _sync(running)
            found["idle_cpu_s"].append(_cpu_s() - before)
            bench.upstream.commit(changed(number, 2000 + number))
            began = time.perf_counter()
            await _sync(running)
            found["change_s"].append(time.perf_counter() - began)
    return found


async def _sync(running: Running) -> None:
    answer = await running.daemon.answer({"do": "sync", "timeout_s": PATIENCE_S})
    if answer["outcome"] != "applied":
        raise RuntimeError(f"not applied: {answer}")


def _cpu_s() -> float:
    """Of this process and of the git programs that it started and that ended."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in spent)


def main() -> None:
    """Measure, and print it."""
    count, runs = int(sys.argv[1]), int(sys.argv[2])
    with a_bench() as bench:
        # Nothing but what is asked for may happen meanwhile.
        bench.configure(poll={"interval_s": 3600.0}, drift_interval_s=3600.0)
        bench.upstream.commit(repository(count))
        bench.pretend_credentials("n1")
        found = asyncio.run(measure(bench, runs))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({**found, "peak_mib": [peak]}) + "\n")


if __name__ == "__main__":
    main()
