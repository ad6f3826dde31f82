"""What many cores do together, on sparse graphs and under loss: the numbers that are promised."""

from __future__ import annotations

import math
from functools import partial

import pytest

from maculaos.settings import SwimSettings
from maculaos.swim.rumour import Health
from unit.maculaos.swim.swarm import Swarm

pytestmark = pytest.mark.simulation


def formed(size: int, seed: int, loss: float = 0.01) -> Swarm:
    """Nodes that all know each other, on a graph with six links each."""
    swarm = Swarm(size, seed, loss=loss)
    swarm.acquaint()
    swarm.connect()
    return swarm


@pytest.mark.parametrize(("size", "within_s", "seeds"), [(20, 10.0, 8), (100, 15.0, 2)])
def test_a_dead_node_is_known_to_be_dead_by_all(size: int, within_s: float, seeds: int) -> None:
    for seed in range(seeds):
        swarm = formed(size, seed)
        swarm.run_until(10.0)
        swarm.kill(3)
        swarm.run_until_true(partial(swarm.all_see, 3, Health.DEAD), within_s)
        assert not swarm.false_deaths(), seed


def test_strangers_become_one_realm() -> None:
    swarm = Swarm(60, seed=1)
    swarm.connect()
    assert swarm.run_until_true(swarm.is_whole, 10.0) < 5.0


@pytest.mark.parametrize("size", [64, 256])
def test_news_reaches_all_within_three_times_log2_rounds(size: int) -> None:
    swarm = formed(size, seed=5)
    swarm.run_until(5.0)
    swarm.carry(0, swarm.nodes[0].set_metadata(b"news", swarm.now))
    took_s = swarm.run_until_true(
        lambda: all(
            (held := node.members.get(swarm.me[0].node_id)) is not None and held.metadata == b"news"
            for node in swarm.nodes[1:]
        ),
        60.0,
    )
    assert took_s / swarm.settings.gossip_interval_s <= 3 * math.log2(size)


def test_nobody_alive_is_believed_dead_under_loss() -> None:
    swarm = formed(60, seed=2, loss=0.02)
    swarm.run_until(120.0)
    assert swarm.deaths == []
    assert swarm.is_whole()


def test_at_rest_little_is_said() -> None:
    swarm = formed(60, seed=4, loss=0.0)
    swarm.run_until(20.0)
    before = swarm.sent
    swarm.run_until(80.0)
    # A probe a second with its answer, and a digest now and then.
    assert (swarm.sent - before) / 60 / swarm.size < 2.1
    assert swarm.sent_rumours == 0


@pytest.mark.parametrize("held_s", [100.0, 400.0])
def test_a_partition_heals_and_nobody_dies_of_the_healing(held_s: float) -> None:
    # After the longer one the halves do not even remember each other.
    swarm = Swarm(16, 3, settings=SwimSettings(tombstone_s=300.0))
    swarm.acquaint()
    swarm.connect()
    swarm.run_until(10.0)
    cut = [(a, b) for a in range(8) for b in swarm.links[a] if b >= 8]
    for one, other in cut:
        swarm.unlink(one, other)
    swarm.run_until(held_s)
    assert swarm.health(0, 15) in {Health.DEAD, None}
    before = len(swarm.deaths)
    for one, other in cut:
        swarm.link(one, other)
    swarm.run_until_true(swarm.is_whole, 60.0)
    assert len(swarm.deaths) == before


def test_a_node_that_leaves_is_not_mourned() -> None:
    swarm = formed(20, seed=6)
    swarm.run_until(5.0)
    swarm.carry(3, swarm.nodes[3].leave())
    swarm.kill(3)
    assert swarm.run_until_true(lambda: swarm.all_see(3, Health.LEFT), 10.0) < 3.0
    swarm.run_until(40.0)
    assert swarm.deaths == []


def test_a_node_that_hears_half_of_everything_makes_no_storm() -> None:
    swarm = formed(30, seed=7, loss=0.0)
    swarm.is_cut = lambda one, other: 0 in (one, other) and swarm.rng.random() < 0.5
    swarm.run_until(120.0)
    # What it believes itself for a moment is its own affair.
    believed = [(by, swarm.number_of[rumour.node_id]) for _, by, rumour in swarm.deaths if by != 0]
    assert not [dead for _, dead in believed if dead != 0]
    accused = {(rumour.node_id, rumour.incarnation) for _, _, rumour in swarm.suspicions}
    others = [each for each in accused if swarm.number_of[each[0]] != 0]
    assert len(others) < 30


def test_the_same_seed_gives_the_same_run() -> None:
    def trace(seed: int) -> tuple[int, dict[str, int]]:
        swarm = Swarm(20, seed, loss=0.05)
        swarm.connect()
        swarm.run_until(20.0)
        return swarm.sent_rumours, swarm.sent_by_kind

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)
