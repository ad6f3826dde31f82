"""The same seed gives the same run, in one process and under every hash seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.faults import Faults
from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation
TESTS = Path(__file__).resolve().parent.parent


def trace(seed: int) -> str:
    faults = Faults(loss=0.05, duplication=0.05, reordering=0.1, clock_skew_s=1.0, clock_drift=1e-3)
    world = World(seed, faults)
    names = start_mesh(world, 6)
    world.run_for(10.0)
    world.kill(names[2])
    world.run_for(20.0)
    return world.trace


def simulate(*arguments: str, hash_seed: str = "1") -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(TESTS.parent), str(TESTS)))
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
    command = [sys.executable, "-m", "simulation", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=50
    )


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_hash_seeds_do_not_change_the_run() -> None:
    def traces(hash_seed: str) -> list[str]:
        arguments = ("--nodes", "8", "--seed", "3", "--scenario", "detection", "--quick", "--trace")
        done = simulate(*arguments, hash_seed=hash_seed)
        assert done.returncode == 0, done.stdout + done.stderr
        return [line for line in done.stdout.splitlines() if line.startswith("trace of ")]

    first = traces("1")
    assert first
    assert first == traces("2")


def test_results_as_json_say_what_was_found_and_its_bound() -> None:
    done = simulate("--nodes", "5", "--seed", "2", "--scenario", "news", "--quick", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)
    assert (result["scenario"], result["nodes"], result["seed"]) == ("news", 5, 2)
    assert 0 <= result["figure"] <= result["at_most"]


def test_a_mesh_that_is_too_small_is_refused() -> None:
    done = simulate("--nodes", "1")
    assert done.returncode == 2
    assert "--nodes must lie between" in done.stderr
