"""Lookups find the truly closest node: among the dead, under churn, the same under any hash seed.

``python -m simulation.lookups --nodes 10000`` runs the same at full size.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from statistics import mean

import pytest

from maculaos.kademlia.settings import KademliaSettings
from simulation.lookups import (
    Network,
    Score,
    churn,
    fill_by_shortcut,
    join_all,
    kill_share,
    look_up_randomly,
    score,
)

pytestmark = pytest.mark.simulation
TESTS = Path(__file__).resolve().parent.parent


def replay(network: Network, result: Score) -> str:
    return f"seed {network.seed}, {len(network.nodes)} nodes: {result}"


def looked_up(network: Network, lookups: int, dead: float) -> Score:
    kill_share(network, dead)
    look_up_randomly(network, lookups)
    return score(network)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_closest_is_found_although_a_fifth_of_all_contacts_is_dead(seed: int) -> None:
    network = Network(seed, KademliaSettings())
    fill_by_shortcut(network, 600)
    result = looked_up(network, 200, dead=0.2)
    assert result.lookups == result.complete == 200, replay(network, result)
    assert result.right == 200, replay(network, result)
    assert result.hops <= math.log2(600) / 2, replay(network, result)
    # Two timeouts of 2 s: what is in the place of a dead one may be dead, too.
    assert result.latency_s < 4.5, replay(network, result)


def test_more_dead_than_k_survives_still_ends_and_mostly_finds() -> None:
    network = Network(3, KademliaSettings())
    fill_by_shortcut(network, 300)
    result = looked_up(network, 100, dead=0.7)
    assert result.lookups == 100, replay(network, result)
    assert result.share >= 0.95, replay(network, result)


def test_tables_filled_by_the_shortcut_are_like_those_of_joins() -> None:
    scores, sizes = [], []
    for fill in (join_all, fill_by_shortcut):
        network = Network(4, KademliaSettings())
        fill(network, 120)
        sizes.append(mean(len(node.table) for node in network.nodes.values()))
        scores.append(looked_up(network, 100, dead=0.2))
    joined, drawn = scores
    assert joined.right == drawn.right == 100, scores
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert joined.asked == pytest.approx(drawn.asked, rel=0.15)
    assert abs(joined.hops - drawn.hops) <= 1


def test_lookups_are_right_while_a_tenth_of_all_nodes_goes_and_comes_each_minute() -> None:
    network = Network(5, KademliaSettings())
    fill_by_shortcut(network, 60)
    result = churn(network, 0.1, minutes=10.0, lookups=300)
    assert result.lookups >= 295, replay(network, result)
    assert result.share >= 0.99, replay(network, result)


def test_the_same_seed_gives_the_same_trace_under_every_hash_seed() -> None:
    def traced(hash_seed: str, seed: int) -> str:
        path = os.pathsep.join((str(TESTS.parent), str(TESTS)))
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path}
        command = [sys.executable, "-m", "simulation.lookups", "--nodes", "25", "--lookups", "20"]
        command += ["--join", "--seed", str(seed)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=50
        )
        return done.stdout.splitlines()[-1]

    first = traced("1", 6)
    assert first.startswith("trace ")
    assert first == traced("2", 6)
    assert first != traced("1", 7)
