"""The reconciler: what a pass costs, how soon a push is applied, and beside it a peer."""

from __future__ import annotations

import asyncio
import compileall
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import jails
import maculaos
import reconciler
import webhooks
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
POLL_S = 1.0
NEVER_S = 3600.0
# Longer than deliveries are gathered.
BETWEEN_S = 1.5


def figures(runs: int) -> Iterator[Figure]:
    """Every figure of the reconciler."""
    _compile()
    yield from _many(runs)
    yield from _pushes(runs)
    yield from _beside_ansible(runs)


def _compile() -> None:
    """Compile our packages, as installing them does: a checkout may run from its sources."""
    for package in (jails, maculaos, reconciler):
        for folder in package.__path__:
            compileall.compile_dir(folder, quiet=2)


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
    """From a push to the program that runs, over the process runtime: a webhook tells of it."""
    with a_bench() as bench:
        bench.upstream.commit(repository(3))
        give_credentials(bench)
        secret = bench.root / "secret"
        secret.write_text(f"{webhooks.SECRET}\n")
        secret.chmod(0o600)
        senders = [{"provider": "generic", "secret_file": "secret"}]
        webhook = {"listen": "127.0.0.1:0", "senders": senders}
        bench.configure(poll={"interval_s": NEVER_S}, webhook=webhook)
        told = asyncio.run(_pushed(bench, runs, is_told=True))
    yield Figure(name="push to applied, by webhook", unit="s", runs=told, at_most=2.0)
    with a_bench() as bench:
        bench.upstream.commit(repository(3))
        give_credentials(bench)
        bench.configure(poll={"interval_s": POLL_S})
        polled = asyncio.run(_pushed(bench, runs, is_told=False))
    name = f"push to applied, by polling every {POLL_S:g} s"
    yield Figure(name=name, unit="s", runs=polled, at_most=POLL_S + 2.0)


async def _pushed(bench: Bench, runs: int, *, is_told: bool) -> tuple[float, ...]:
    settings = load_settings(bench.config)
    runtime = open_runtime(settings, SystemClock()).runtime
    took = []
    try:
        async with bench.running(runtime, within_s=300.0) as running:
            await running.until(lambda s: s.status.converged)
            found = re.search(r" webhook at=(\S+)", bench.log.getvalue())
            for number in range(runs):
                if found is not None:
                    await asyncio.sleep(BETWEEN_S)  # else one delivery waits for the one before
                revision = bench.upstream.commit(changed(0, 3000 + number))
                began = time.perf_counter()
                if is_told and found is not None:
                    delivery = webhooks.generic(delivery=str(number))
                    await webhooks.deliver(found[1], delivery)
                await running.applied(revision)
                took.append(time.perf_counter() - began)
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
