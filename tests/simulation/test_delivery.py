"""The laws of delivery under faults: what is confirmed was taken, and what is not is told.

Every value is published once. Whatever fails, a publisher that was told of so many confirmations
finds the value in the records of as many nodes; and every publication is answered.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

import pytest

from maculaos.wire.events import Unwatch
from maculaos.wire.messages import RpcError, RpcResult
from maculaos.wire.registry import RpcErrorCode
from maculaos.wire.values import decode_value
from simulation.messengers import Messenger, check_order, confirmed_by, counted, run_all
from simulation.world import World, start_mesh

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.simulation

# A publication without a time to live is given up after 30 s.
_ANSWERED_WITHIN_S = 32.0


def messengers_of(world: World, names: tuple[str, ...], diligence: float = 1.0) -> list[Messenger]:
    """A client at each node, once the mesh is whole."""
    every = [Messenger(world, name, world.rng, diligence) for name in names]
    for each in every:
        each.connect()
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)
    return every


def mesh(seed: int, size: int, diligence: float = 1.0) -> list[Messenger]:
    world = World(seed)
    names = start_mesh(world, size)
    every = messengers_of(world, names, diligence)
    # Beyond what is linked in full, topology takes its time to spare links.
    world.run_for(30.0 if size > 10 else 1.0)
    return every


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("acknowledge", [False, True])
def test_every_subscriber_gets_everything_once_and_in_order(seed: int, acknowledge: bool) -> None:
    every = mesh(seed, 16, diligence=0.5)
    for each in every[::3]:
        each.subscribe("news.*")
    run_all(every, 1.0)
    publishers = every[1:3]
    for number in range(30):
        for place, each in enumerate(publishers):
            values = [f"{place}.{number}.{part}" for part in range(3)]
            each.publish(number + 1, "news.x", *values, acknowledge=acknowledge)
        run_all(every, 0.05)
    run_all(every, 20.0)
    for each in every:
        check_order(each, each.record)
        assert len(each.values) == (180 if each in every[::3] else 0), each.world.replay
    for each in publishers:
        assert {confirmed_by(each.answers[n + 1]) for n in range(30)} == {6 if acknowledge else 0}


def faults(world: World, names: tuple[str, ...]) -> Iterator[str]:
    """One thing that goes wrong or right after the other."""
    down: list[str] = []
    while True:
        kind = world.rng.choice(("kill", "start", "cut", "heal", "nothing"))
        # The first one publishes, and stays.
        victim = world.rng.choice(names[1:])
        if kind == "kill" and len(down) < len(names) // 3 and victim not in down:
            world.kill(victim)
            down.append(victim)
            yield victim
        elif kind == "start" and down:
            back = down.pop(0)
            world.start(back, peers=(world.hosts[names[0]].address,))
            yield back
        elif kind == "cut":
            half = tuple(world.rng.sample(names, len(names) // 2))
            world.partition(half, tuple(name for name in names if name not in half))
            yield ""
        elif kind == "heal":
            world.faults.heal()
            yield ""
        else:
            yield ""


@pytest.mark.parametrize("seed", range(6))
def test_what_is_confirmed_was_taken_and_the_rest_is_told(seed: int) -> None:
    every = mesh(seed, 9 if seed % 2 else 14, diligence=0.7)
    world, publisher = every[0].world, every[0]
    names = tuple(each.name for each in every)
    by_name = {each.name: each for each in every}
    lives = [list[tuple[bytes, int, Any]]() for _ in every]
    for each in every[1::2]:
        each.subscribe("news.**")
    run_all(every, 1.0)
    trouble = faults(world, names)
    for number in range(1, 121):
        publisher.publish(number, "news.a", number, acknowledge=True)
        run_all(every, world.rng.choice((0.0, 0.05, 0.3)))
        if number % 6 == 0:
            host = by_name.get(next(trouble))
            if host is not None and world.hosts[host.name].is_running:
                start = len(host.record)
                lives[every.index(host)] += host.record[:start]
                host.record = []
                host.connect()
                host.subscribe("news.**")
    run_all(every, _ANSWERED_WITHIN_S)
    taken = counted(every)
    for place, each in enumerate(every):
        check_order(each, each.record)
        taken.update({value for _, _, value in lives[place]} - set(each.values))
    assert sorted(publisher.answers) == list(range(1, 121)), world.replay
    failed = 0
    for number, answer in publisher.answers.items():
        confirmed = confirmed_by(answer)
        failed += confirmed is None
        assert confirmed is None or taken[number] >= confirmed, (number, world.replay)
    assert failed < 120, world.replay


@pytest.mark.parametrize("seed", range(3))
def test_what_gets_lost_on_the_way_is_sent_again_in_order(seed: int) -> None:
    every = mesh(seed, 14)
    world = every[0].world
    for each in every[1::2]:
        each.subscribe("news")
    run_all(every, 1.0)
    world.faults.event_loss = world.faults.envelope_loss = 0.1
    for number in range(1, 61):
        every[0].publish(number, "news", number, acknowledge=True)
        run_all(every, 0.05)
    run_all(every, _ANSWERED_WITHIN_S)
    for number in range(1, 61):
        assert confirmed_by(every[0].answers[number]) == 7, world.replay
    for each in every[1::2]:
        assert each.values == list(range(1, 61)), (each.name, world.replay)


@pytest.mark.parametrize("is_near", [True, False])
def test_a_small_queue_slows_an_acknowledging_publisher_and_loses_nothing(is_near: bool) -> None:
    every = mesh(3, 3)
    reader = every[0] if is_near else every[1]
    reader.subscribe("news", credit=50, queue=50)
    run_all(every, 1.0)
    for number in range(100):
        every[0].publish(
            number + 1, "news", *range(number * 20, number * 20 + 20), acknowledge=True
        )
    # It reads 50 events a round, of 2000; each round takes a hundredth of a second.
    run_all(every, 2.5, step_s=0.01)
    assert reader.values == list(range(2000)), reader.world.replay
    assert {confirmed_by(answer) for answer in every[0].answers.values()} == {1}
    assert len(every[0].answers) == 100


@pytest.mark.parametrize("seed", range(3))
def test_at_most_once_is_never_twice_whatever_fails(seed: int) -> None:
    every = mesh(seed, 14)
    world, publisher = every[0].world, every[0]
    names = tuple(each.name for each in every)
    for each in every[1:]:
        each.subscribe("news")
    run_all(every, 1.0)
    world.faults.event_loss = 0.1
    trouble = faults(world, names)
    for number in range(1, 101):
        publisher.publish(0, "news", number)
        run_all(every, 0.1)
        if number % 8 == 0:
            next(trouble)
    run_all(every, 20.0)
    for each in every:
        values = each.values
        assert len(set(values)) == len(values), (each.name, world.replay)


@pytest.mark.parametrize("seed", range(3))
def test_a_group_shares_what_is_confirmed_also_when_members_are_lost(seed: int) -> None:
    every = mesh(seed, 8)
    world, publisher, members = every[0].world, every[0], every[2:6]
    for each in members:
        each.subscribe("jobs.*", "workers")
    run_all(every, 1.0)
    for number in range(1, 41):
        publisher.publish(number, "jobs.a", number, acknowledge=True)
        run_all(every, 0.05)
    run_all(every, 2.0)
    assert set(counted(members)) == set(range(1, 41)), world.replay
    assert set(counted(members).values()) == {1}
    assert min(len(each.values) for each in members) >= 8
    # Two of them hold what they get, and die.
    for each in members[:2]:
        each.diligence = 0.0
    for number in range(41, 81):
        publisher.publish(number, "jobs.a", number, acknowledge=True)
    run_all(every, 0.5)
    for each in members[:2]:
        world.kill(each.name)
    run_all(every, _ANSWERED_WITHIN_S)
    taken = counted(members)
    for number in range(41, 81):
        confirmed = confirmed_by(publisher.answers[number])
        assert confirmed == 1, (publisher.answers[number], world.replay)
        assert taken[number] >= 1, world.replay


def test_a_target_that_dies_is_named_to_the_publisher() -> None:
    every = mesh(1, 4)
    publisher, victim = every[0], every[2]
    victim.diligence = 0.0
    victim.subscribe("news")
    run_all(every, 1.0)
    publisher.publish(1, "news", 1, acknowledge=True)
    run_all(every, 0.2)
    publisher.world.kill(victim.name)
    run_all(every, 25.0)
    answer = publisher.answers[1]
    assert isinstance(answer, RpcError)
    assert answer.code == RpcErrorCode.NOT_DELIVERED
    assert victim.name in answer.detail


def test_a_program_that_takes_nothing_is_named_when_the_time_is_over() -> None:
    every = mesh(2, 3)
    every[1].diligence = 0.0
    every[1].subscribe("news")
    run_all(every, 1.0)
    every[0].publish(1, "news", 1, acknowledge=True, ttl_ms=2000)
    run_all(every, 1.8)
    assert not every[0].answers
    run_all(every, 0.5)
    answer = every[0].answers[1]
    assert isinstance(answer, RpcError)
    assert every[1].name in answer.detail


def test_nobody_to_tell_is_nobody_to_wait_for() -> None:
    every = mesh(3, 3)
    every[0].publish(1, "news", 1, acknowledge=True)
    every[0].work()
    assert confirmed_by(every[0].answers[1]) == 0


def test_who_stops_wanting_is_waited_for_no_longer() -> None:
    every = mesh(4, 3)
    every[1].diligence = 0.0
    every[1].subscribe("news")
    run_all(every, 1.0)
    every[0].publish(1, "news", 1, acknowledge=True)
    run_all(every, 0.2)
    every[0].world.say(every[1].name, Unwatch(1))
    run_all(every[:1], 1.0)
    assert confirmed_by(every[0].answers[1]) == 1


def test_a_program_that_is_lost_with_what_it_had_is_told_to_the_publisher() -> None:
    every = mesh(4, 3)
    every[1].diligence = 0.0
    every[1].subscribe("news")
    run_all(every, 1.0)
    every[0].publish(1, "news", 1, acknowledge=True)
    run_all(every, 0.2)
    every[0].world.disconnect_client(every[1].name)
    run_all(every[:1], 1.0)
    answer = every[0].answers[1]
    assert isinstance(answer, RpcError)
    assert every[1].name in answer.detail


@pytest.mark.parametrize("seed", range(2))
def test_retained_events_reach_whoever_comes_later(seed: int) -> None:
    every = mesh(seed, 12)
    every[0].publish(0, "state.a", "old", retain_ms=60_000)
    every[0].publish(0, "state.a", "new", retain_ms=60_000)
    every[0].publish(0, "state.b", "gone", retain_ms=60_000)
    every[0].publish(0, "state.b", None, retain_ms=60_000)
    every[1].publish(0, "state.a", "of another", retain_ms=60_000)
    every[1].publish(0, "state.c", "short", retain_ms=2_000)
    run_all(every, 3.0)
    for each, pattern in zip(every[5:8], ("state.*", "state.a", "**"), strict=True):
        each.subscribe(pattern)
        run_all(every, 1.0)
        assert sorted(map(str, each.values)) == ["new", "of another"], each.world.replay
    # A second subscription of the same node is served from what the node has heard.
    late = every[5]
    late.subscribe("state.*", number=2)
    late.subscribe("state.**", number=3)
    run_all(every, 1.0)
    assert sorted(map(str, late.values)) == sorted(["new", "of another"] * 3)


def test_a_trace_names_every_hop() -> None:
    every = mesh(5, 16)
    world = every[0].world
    for each in every[3:]:
        each.subscribe("news.*")
    run_all(every, 1.0)
    every[0].publish(1, "news.a", is_trace=True)
    run_all(every, 2.0)
    answer = every[0].answers[1]
    assert isinstance(answer, RpcResult)
    routes: Any = decode_value(answer.payload)
    linked = {name: {other.name for other in host.neighbours} for name, host in world.hosts.items()}
    assert sorted(route["node"] for route in routes) == sorted(each.name for each in every[3:])
    for route in routes:
        hops = [hop["node"] for hop in route["hops"]]
        assert (hops[0], hops[-1]) == (every[0].name, route["node"])
        assert all(there in linked[here] for here, there in itertools.pairwise(hops))
        times = [hop["at_us"] for hop in route["hops"]]
        assert times == sorted(times)
    assert all(not each.values for each in every)


def test_random_patterns_reach_exactly_who_they_mean() -> None:
    rng = random.Random(8)  # replays the run
    every = mesh(8, 6)
    patterns = ["a.*", "a.**", "*.b", "**", "a.b", "c"]
    wanted = {each.name: rng.sample(patterns, 2) for each in every}
    for each in every:
        for number, pattern in enumerate(wanted[each.name], start=1):
            each.subscribe(pattern, number=number)
    run_all(every, 1.0)
    means = {"a.*": "a.b a.c", "a.**": "a.b a.c a.b.c", "*.b": "a.b", "a.b": "a.b", "c": "c"}
    topics = ["a.b", "a.c", "a.b.c", "c", "d.e"]
    for topic in topics:
        every[0].publish(0, topic, topic)
    run_all(every, 1.0)
    for each in every:
        due = {
            topic
            for pattern in wanted[each.name]
            for topic in (topics if pattern == "**" else means[pattern].split())
        }
        assert set(each.values) == due
