"""The reconciler: what a pass costs, how soon a push is applied, and beside it a peer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import ansible
from bench.figures import Figure
from bench.site import a_bench, changed, give_credentials, halt, repository, run
from maculaos.host.clock import SystemClock
from reconciler.assembly import load_settings
from reconciler.halt import remove_all
from reconciler.runtimes import open_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciling import Bench

# With their node as many as one repository may hold.
MANY = 999
ITEMS = 100


def figures(runs: int) -> Iterator[Figure]:
    """Every figure of the reconciler."""
    yield from _many(runs)
    yield from _pushes(runs)
    yield from _beside_ansible(runs)


def _many(runs: int) -> Iterator[Figure]:
    command = [sys.executable, "-m", "bench.many", str(MANY), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    if done.returncode != 0:
        raise RuntimeError(f"bench.many failed:\n{done.stderr[-3000:]}")
    found = {name: tuple(values) for name, values in json.loads(done.stdout).items()}
    apps = f"{MANY} apps"
    yield Figure(name=f"{apps}: first pass", unit="s", runs=found["first_s"])
    yield Figure(
        name=f"{apps}: pass after a change of one line",
        unit="s",
        runs=found["change_s"],
        at_most=1.0,
    )
    yield Figure(
        name=f"{apps}: pass with nothing to do",
        unit="s of CPU",
        runs=found["idle_cpu_s"],
        at_most=1.0,
    )
    yield Figure(name=f"{apps}: memory at most", unit="MiB", runs=found["peak_mib"], at_most=100.0)


def _pushes(runs: int) -> Iterator[Figure]:
    """From the push to the program that runs, over the process runtime, by a request to sync."""
    with a_bench() as bench:
        bench.upstream.commit(repository(3))
        give_credentials(bench)
        bench.configure(poll={"interval_s": 3600.0})
        took = asyncio.run(_push_and_sync(bench, runs))
    yield Figure(name="push to applied, when told", unit="s", runs=took, at_most=2.0)


async def _push_and_sync(bench: Bench, runs: int) -> tuple[float, ...]:
    settings = load_settings(bench.config)
    runtime = open_runtime(settings, SystemClock()).runtime
    took = []
    try:
        async with bench.running(runtime, within_s=300.0) as running:
            await running.daemon.answer({"do": "sync"})
            for number in range(runs):
                bench.upstream.commit(changed(0, 3000 + number))
                began = time.perf_counter()
                answer = await running.daemon.answer({"do": "sync"})
                took.append(time.perf_counter() - began)
                if answer["outcome"] != "applied":
                    raise RuntimeError(f"not applied: {answer}")
    finally:
        await remove_all(runtime, settings.run_dir)
    return tuple(took)


def _beside_ansible(runs: int) -> Iterator[Figure]:
    """Whole commands over the same number of items, with nothing to change."""
    ours = _one_shots(runs)
    yield Figure(name=f"reconciler sync, {ITEMS} apps", unit="s", runs=ours)
    with tempfile.TemporaryDirectory() as folder:
        theirs = dict(ansible.figures_of(Path(folder), ITEMS, 1))
    yield Figure(name=f"ansible-pull, {ITEMS} items", unit="s", runs=theirs["full"])
    yield Figure(name=f"ansible-pull -o, {ITEMS} items", unit="s", runs=theirs["only-if-changed"])
    middle = sorted(ours)[len(ours) // 2]
    yield Figure(
        name="ansible-pull / reconciler sync",
        unit="times",
        runs=tuple(each / middle for each in theirs["full"]),
        at_least=100.0,
    )
    yield Figure(
        name="ansible-pull -o / reconciler sync",
        unit="times",
        runs=tuple(each / middle for each in theirs["only-if-changed"]),
        at_least=1.0,
    )


def _one_shots(runs: int) -> tuple[float, ...]:
    with a_bench() as bench:
        bench.upstream.commit(repository(ITEMS))
        give_credentials(bench)
        try:
            run(bench, "sync", "--timeout", "300")
            return tuple(run(bench, "sync")[1] for _ in range(runs * 3))
        finally:
            halt(bench)
