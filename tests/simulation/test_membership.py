"""Meshes form, notice death, welcome back, follow moves and heal, on every seed."""

from __future__ import annotations

import pytest

from simulation.faults import Faults
from simulation.world import World, settings_for, start_mesh

pytestmark = pytest.mark.simulation
SWIM = settings_for("x", "127.0.0.1:1", ()).swim


def formed(size: int, seed: int, faults: Faults | None = None) -> tuple[World, tuple[str, ...]]:
    world = World(seed, faults)
    names = start_mesh(world, size)
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)
    return world, names


def detection_bound_s(size: int) -> float:
    """One observer asks everybody within two rounds, in two halves; then the suspect may refute."""
    rounds_s = 2 * (size - 1) * SWIM.probe_interval_s
    return rounds_s + 2 * SWIM.probe_timeout_s + SWIM.longest_suspicion_s(size) + 1.0


@pytest.mark.parametrize("size", [3, 4, 7, 13, 25])
@pytest.mark.parametrize("seed", [1, 2])
def test_nodes_with_one_seed_peer_become_one_mesh_and_stay_it(size: int, seed: int) -> None:
    world, names = formed(size, seed)
    assert world.now < 5.0, world.replay
    world.run_for(60.0)
    assert world.is_whole(*names), world.replay
    # Nobody was ever suspected: nobody had to refute.
    assert {world.field_of(name, name, "incarnation") for name in names} == {0}, world.replay


@pytest.mark.parametrize("seed", range(5))
def test_lost_dials_delay_a_mesh_and_do_not_prevent_it(seed: int) -> None:
    formed(6, seed, Faults(dial_loss=0.3, longest_latency_s=0.1))


@pytest.mark.parametrize("seed", range(8))
def test_a_killed_node_is_suspected_then_dead_within_the_bound_and_alive_again(seed: int) -> None:
    world, names = formed(5, seed)
    world.run_for(20.0)
    victim, rest = names[-1], names[:-1]
    world.kill(victim)
    killed_at = world.now
    suspected_after = world.run_until_true(
        lambda: any(world.health(name, victim) == "suspect" for name in rest), 60.0
    )
    world.run_until_true(lambda: all(world.health(name, victim) == "dead" for name in rest), 60.0)
    assert suspected_after > 0
    assert world.now - killed_at <= detection_bound_s(len(names)), world.replay
    # Links follow the news once it has settled.
    world.run_until_true(lambda: world.is_whole(*rest), 1.0)
    world.start(victim, peers=(world.hosts[names[0]].address,))
    assert world.run_until_true(lambda: world.is_whole(*names), 60.0) < 5.0, world.replay


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_restarts_at_once_is_not_locked_out(seed: int) -> None:
    world, names = formed(4, seed)
    world.run_for(30.0)
    world.kill("n2")
    world.start("n2", peers=(world.hosts["n1"].address,))
    world.run_until_true(lambda: world.is_whole(*names), 20.0)
    world.run_for(30.0)
    assert world.is_whole(*names), world.replay


@pytest.mark.parametrize("seed", range(5))
def test_a_node_that_moved_is_found_at_its_new_address(seed: int) -> None:
    world, names = formed(4, seed)
    world.run_for(20.0)
    moved = "127.0.0.1:20000"
    world.kill("n2")
    world.start("n2", peers=(world.hosts["n1"].address,), address=moved)
    world.run_until_true(lambda: world.is_whole(*names), 30.0)
    world.run_until_true(
        lambda: all(world.field_of(name, "n2", "addresses") == [moved] for name in names), 30.0
    )
    # n1 restarts and is found through the moved node alone.
    world.kill("n1")
    world.start("n1", peers=(moved,))
    world.run_until_true(lambda: world.is_whole(*names), 30.0)


def test_a_moved_seed_peer_finds_the_others_by_their_redials_or_its_own() -> None:
    world, names = formed(4, seed=3)
    world.kill("n1")
    world.start("n1", peers=(world.hosts["n3"].address,), address="127.0.0.1:20001")
    world.run_until_true(lambda: world.is_whole(*names), 30.0)


# Shorter and longer than the tombstone time: after it the others are not even remembered,
# only their addresses are.
@pytest.mark.parametrize(("share", "remembered"), [(0.95, "dead"), (1.05, None)])
def test_a_long_partition_heals(share: float, remembered: str | None) -> None:
    world, names = formed(5, seed=1)
    world.partition(names[:2])
    world.run_for(share * SWIM.tombstone_s)
    assert world.health("n1", "n5") == remembered, world.replay
    world.faults.heal()
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)


def test_a_short_cut_only_delays() -> None:
    world, names = formed(4, seed=5)
    world.partition(names[:1])
    world.run_for(1.5)
    world.faults.heal()
    world.run_for(10.0)
    assert world.is_whole(*names), world.replay


def test_a_node_that_leaves_is_known_to_have_left_and_is_not_dialled() -> None:
    world, names = formed(4, seed=6)
    world.leave("n4")
    world.run_for(2.0)
    assert {world.health(name, "n4") for name in names[:3]} == {"left"}, world.replay
    failed = sum(host.note_count for host in world.hosts.values())
    world.run_for(300.0)
    assert sum(host.note_count for host in world.hosts.values()) == failed, world.replay
    world.start("n4", peers=(world.hosts["n1"].address,))
    world.run_until_true(lambda: world.is_whole(*names), 30.0)


@pytest.mark.parametrize("seed", range(20))
def test_simultaneous_dials_settle_on_one_link(seed: int) -> None:
    world = World(seed)
    one = world.start("n1", peers=("127.0.0.1:10001",))
    other = world.start("n2", peers=("127.0.0.1:10000",))
    world.run_for(2.0)
    assert world.is_whole("n1", "n2"), world.replay
    assert len(one.links) == len(other.links) == 1, world.replay


@pytest.mark.parametrize("seed", range(3))
def test_peers_under_other_names_are_linked_once_and_not_dialled_for_ever(seed: int) -> None:
    world = World(seed)
    world.aliases.update({"one.example:1": "127.0.0.1:10000", "two.example:1": "127.0.0.1:10001"})
    names = ("n1", "n2", "n3")
    for name in names:
        world.start(name, peers=tuple(world.aliases))
    world.run_for(120.0)
    links = {name: world.hosts[name].last_link for name in names}
    world.run_for(300.0)
    assert world.is_whole(*names), world.replay
    assert {name: world.hosts[name].last_link for name in names} == links, world.replay


def test_nobody_is_accused_because_links_break_and_dials_fail() -> None:
    """Whoever is out of reach of one is asked after by others, over others."""
    world, names = formed(30, seed=4)
    world.run_for(15.0)
    suspected: list[str] = []
    world.observers.append(
        lambda host, note: (
            suspected.append(host.name) if ("health", "suspect") in note.facts else None
        )
    )
    world.faults.dial_loss = 0.5
    for _ in range(60):
        world.sever_one()
        world.run_for(1.0)
    assert suspected == [], world.replay
    world.faults.dial_loss = 0.0
    world.run_until_true(lambda: world.is_whole(*names), 60.0)
