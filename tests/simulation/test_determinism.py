"""The same seed gives the same run, in one process and under every hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation
TESTS = Path(__file__).resolve().parent.parent


def trace(seed: int) -> str:
    world = World(seed)
    names = start_mesh(world, 6)
    world.run_for(10.0)
    world.kill(names[2])
    world.run_for(20.0)
    return world.trace


def test_the_same_seed_gives_the_same_trace_and_another_seed_another() -> None:
    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_hash_seeds_do_not_change_the_run() -> None:
    def printed(hash_seed: str) -> str:
        path = os.pathsep.join((str(TESTS.parent), str(TESTS)))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-m", "simulation", "--nodes", "5", "--seed", "3"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=50
        )
        return done.stdout

    first = printed("1")
    assert "trace" in first
    assert first == printed("2")
