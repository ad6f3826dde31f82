"""What the network does to messages: streams lose nothing and keep their order."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maculaos.wire.events import Delivery, Post, Watch
from maculaos.wire.values import encode_value
from simulation.clocks import HostClock
from simulation.faults import Faults
from simulation.world import World, start_mesh

if TYPE_CHECKING:
    from maculaos.effects import Note
    from simulation.hosts import Host

pytestmark = pytest.mark.simulation
ROUGH = Faults(loss=0.2, duplication=0.1, reordering=0.2, clock_skew_s=30.0, clock_drift=1e-3)


def rough() -> Faults:
    return replace(ROUGH)


@given(st.floats(0.0, 1e6), st.floats(0.9, 1.1), st.floats(0.0, 1e5), st.floats(0.0, 1e5))
def test_a_clock_that_is_read_back_shows_the_same_time(
    offset_s: float, rate: float, started_at: float, now: float
) -> None:
    clock = HostClock(offset_s=offset_s, rate=rate, started_at=started_at)
    assert clock.world(clock.monotonic(now)) == pytest.approx(now, abs=1e-6)


def test_a_right_clock_shows_the_time_of_the_world_to_the_last_digit() -> None:
    assert HostClock().monotonic(0.1 + 0.2) == 0.1 + 0.2


def test_datagrams_are_lost_and_doubled_as_often_as_said() -> None:
    rng = random.Random(1)
    copies = [len(rough().datagram_delays(rng)) for _ in range(20_000)]
    assert copies.count(0) / 20_000 == pytest.approx(0.2, abs=0.02)
    assert copies.count(2) / 20_000 == pytest.approx(0.8 * 0.1, abs=0.02)


def test_loss_delays_a_stream_by_the_time_to_send_again() -> None:
    rng, faults = random.Random(1), rough()
    delays = [faults.stream_delay(rng) for _ in range(5_000)]
    longer = sum(delay > faults.longest_latency_s for delay in delays)
    assert longer / 5_000 == pytest.approx(0.2, abs=0.02)
    assert max(delays) < 60.0


@pytest.mark.parametrize("seed", range(3))
def test_streams_keep_their_order_in_a_network_that_loses_a_fifth(seed: int) -> None:
    world = World(seed, rough())
    names = start_mesh(world, 3)
    for name in names:
        world.connect_client(name)
    world.run_until_true(lambda: world.is_whole(*names), 60.0)
    world.say("n2", Watch(0, 1, "news", 1000))
    world.run_for(5.0)
    payloads = [encode_value(number) for number in range(50)]
    for number, payload in enumerate(payloads):
        world.say("n1", Post(number, "news", (payload,)))
        world.run_for(0.01)
    world.run_for(10.0)
    heard = [each for each in world.heard("n2", Delivery) if isinstance(each, Delivery)]
    assert [payload for each in heard for payload in each.payloads] == payloads, world.replay


@pytest.mark.parametrize("seed", range(3))
def test_a_mesh_lives_with_a_bad_network_and_clocks_that_go_wrong(seed: int) -> None:
    faults = Faults(
        loss=0.05, duplication=0.05, reordering=0.1, clock_skew_s=30.0, clock_drift=1e-3
    )
    world = World(seed, faults)
    dead: list[tuple[str, Note]] = []

    def listen(host: Host, note: Note) -> None:
        if note.event == "member_changed" and dict(note.facts)["health"] == "dead":
            dead.append((host.name, note))

    world.observers.append(listen)
    names = start_mesh(world, 12)
    world.run_until_true(lambda: world.is_whole(*names), 60.0)
    world.run_for(120.0)
    assert not dead, world.replay


def test_whoever_goes_wrong_inside_the_world_says_how_to_replay_it() -> None:
    world = World(4)
    start_mesh(world, 3)

    def fail(_host: Host, _note: Note) -> None:
        raise ZeroDivisionError

    world.observers.append(fail)
    with pytest.raises(ZeroDivisionError) as caught:
        world.run_for(5.0)
    (note,) = caught.value.__notes__
    assert "seed 4" in note
    assert "test_faults.py::test_whoever" in note
