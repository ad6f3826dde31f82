"""A reconciler that is killed in the middle of a rollout is followed by one that ends it.

It dies by SIGKILL right before some change that it makes, as an audit hook (PEP 578) announces it;
the next one has to bring exactly one version everywhere, whatever was written by then.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from random import Random
from typing import TYPE_CHECKING

import pytest

from jailyard import eventually
from rolloutyard import a_rollout_bench, app, ended, programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciling import Bench

APP = "apps/shop.yaml"
SEED = 7
MOST_KILLS = 4
FEWEST_KILLS = 2
# Words: before which change to die (0: never), the root of what counts, then the command's own.
DOOMED = """
import os, signal, sys, threading
FILES = {"deployments.jsonl", "versions.jsonl", "inventory.json", "state.json", "shop.json"}
last, root, count, guard = int(sys.argv[1]), sys.argv[2], 0, threading.RLock()
def heard(event, args):
    global count
    is_ours = event == "os.rename" and root in os.fspath(args[1])
    is_ours = is_ours and os.path.basename(os.fspath(args[1])) in FILES
    if event == "subprocess.Popen" or is_ours:
        with guard:
            count += 1
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
sys.argv[:] = ["reconciler", *sys.argv[3:]]
from reconciler.cli import main
sys.addaudithook(heard)
main()
"""


@pytest.fixture
def bench() -> Iterator[Bench]:
    with a_rollout_bench() as bench:
        yield bench
        ended(bench)


def started(bench: Bench, last: int) -> subprocess.Popen[bytes]:
    words = (str(last), str(bench.root), "run", "--config", str(bench.config))
    with (bench.root / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", DOOMED, *words], stdout=log, stderr=log)


def deployment(state: Path) -> dict[str, object]:
    line = (state / "deployments.jsonl").read_text()
    return dict(json.loads(line)["deployment"])


def is_stable(bench: Bench, version: str, count: int) -> bool:
    try:
        one = deployment(bench.root / "state")
    except (FileNotFoundError, ValueError):
        return False
    return one["rollout"] is None and programs(bench) == {f"shop {version}": count}


def is_over(bench: Bench, one: subprocess.Popen[bytes]) -> bool:
    return one.poll() is not None or is_stable(bench, "v2", 2)


@pytest.mark.parametrize("kind", ["rolling", "blue-green", "canary"])
def test_rollout_that_is_killed_again_and_again_ends_with_one_version(
    bench: Bench, kind: str
) -> None:
    strategy = {"kind": kind, "min_healthy_time_s": 0.3}
    random = Random(SEED)
    bench.upstream.commit({APP: app("shop", "v1", instances=2, strategy=strategy)})
    first = started(bench, 0)
    eventually("the first version is stable", lambda: is_stable(bench, "v1", 2), 40)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    bench.upstream.commit({APP: app("shop", "v2", instances=2, strategy=strategy)})
    killed = 0
    for _ in range(MOST_KILLS):
        doomed = started(bench, random.randint(8, 30))
        eventually(
            "it is killed, or done",
            partial(is_over, bench, doomed),
            40,
        )
        killed += doomed.poll() == -signal.SIGKILL
        doomed.kill()
        doomed.wait(30)
        running = programs(bench)
        assert 1 <= sum(running.values()) <= 4, running
    assert killed >= FEWEST_KILLS
    last = started(bench, 0)
    try:
        eventually("the second version is stable", lambda: is_stable(bench, "v2", 2), 40)
    finally:
        last.terminate()
        last.wait(30)
