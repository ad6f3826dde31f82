"""After any sequence of kills, restarts, moves and partitions the mesh is whole again."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from simulation.faults import Faults
from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation
SIZE = 5

blows = st.lists(
    st.tuples(
        st.sampled_from(["kill", "restart", "move", "partition", "heal", "leave", "wait"]),
        st.integers(1, SIZE),
        st.floats(0.0, 20.0),
    ),
    max_size=8,
)


def strike(world: World, kind: str, name: str) -> None:
    host = world.hosts[name]
    seeds = tuple(each.address for each in world.hosts.values() if each is not host)
    if kind in ("kill", "leave") and host.is_running:
        world.kill(name) if kind == "kill" else world.leave(name)
    elif kind in ("restart", "move"):
        world.kill(name)
        # Every node moves within a range of its own: no two ever listen at one address.
        moved = f"127.0.0.1:{20_000 + 5_000 * int(name[1:]) + int(world.now * 1000) % 5_000}"
        world.start(name, peers=seeds, address=moved if kind == "move" else None)
    elif kind == "partition":
        world.partition(tuple(sorted(world.hosts))[: SIZE // 2])
    elif kind == "heal":
        world.faults.heal()


# A failure already prints its whole story: shrinking it would take minutes.
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(blows, st.integers(0, 1000))
# A lost dial whose address was taken for that of another link.
@example([("move", 1, 0.0), ("kill", 2, 0.0)], 1)
def test_mesh_recovers_from_any_sequence_of_blows(
    sequence: list[tuple[str, int, float]], seed: int
) -> None:
    world = World(seed, Faults(dial_loss=0.1))
    names = start_mesh(world, SIZE)
    for kind, number, pause_s in sequence:
        strike(world, kind, names[number - 1])
        world.run_for(pause_s)
    world.faults.heal()
    for name in names:
        if not world.hosts[name].is_running:
            strike(world, "restart", name)
    world.run_until_true(lambda: world.is_whole(*names), within_s=120.0)
    world.run_for(30.0)
    assert world.is_whole(*names), world.replay
    links = [world.hosts[name].last_link for name in names]
    world.run_for(60.0)
    assert [world.hosts[name].last_link for name in names] == links, world.replay
