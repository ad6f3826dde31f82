"""Calls across a mesh: each ends once and by its deadline, whatever is lost, cut or killed."""

from __future__ import annotations

import pytest

from maculaos.wire.messages import RpcCancel, RpcError, RpcRegister, RpcResult, RpcUnregister
from maculaos.wire.registry import Answering, Choice, RpcErrorCode
from maculaos.wire.values import decode_value
from simulation.programs import Programs
from simulation.world import World, start_mesh

pytestmark = pytest.mark.simulation


def mesh(size: int, seed: int) -> tuple[World, tuple[str, ...], Programs]:
    """A mesh that has settled, with a program at every node."""
    world = World(seed)
    names = start_mesh(world, size)
    for name in names:
        world.connect_client(name)
    world.run_until_true(lambda: world.is_whole(*names), within_s=60.0)
    world.run_for(30.0 if size > 7 else 1.0)
    return world, names, Programs(world)


def far_from(world: World, name: str) -> str:
    """A node that is not linked with that one."""
    linked = {other.name for other in world.hosts[name].neighbours}
    return next(other for other in world.hosts if other not in linked and other != name)


def calls_in(world: World, name: str) -> int:
    """How many calls of others came to that node."""
    stats = world.ask(name, "macula.stats")
    assert isinstance(stats, dict)
    counters = stats["counters"]
    assert isinstance(counters, dict)
    count = counters["calls_in"]
    assert isinstance(count, int)
    return count


def known_far_provider(seed: int) -> tuple[World, str, Programs]:
    """A mesh in which n1 has found a provider without a link to it."""
    world, _, programs = mesh(20, seed)
    far = far_from(world, "n1")
    world.say(far, RpcRegister(("add", "sleepy")))
    programs.run_for(3.0)
    number = programs.call("n1", "add")
    programs.run_for(2.0)
    assert isinstance(programs.answers["n1", number][0], RpcResult), world.replay
    return world, far, programs


# At each of the two or three links of a way: three in ten are lost, or six in ten.
@pytest.mark.parametrize(("loss", "deadline_s"), [(0.15, 20), (0.3, 60)])
@pytest.mark.parametrize("seed", range(3))
def test_every_far_call_is_answered_and_run_once_though_envelopes_are_lost(
    seed: int, loss: float, deadline_s: int
) -> None:
    world, _, programs = known_far_provider(seed)
    world.faults.envelope_loss = loss
    numbers = []
    for _ in range(50):
        numbers.append(programs.call("n1", "add", deadline_s * 1000))
        programs.run_for(0.05)
    programs.run_for(deadline_s)
    for number in numbers:
        (answer,) = programs.answers["n1", number]
        assert isinstance(answer, RpcResult), (number, answer, world.replay)
        assert programs.runs[number] == 1, world.replay


@pytest.mark.parametrize("seed", range(3))
def test_stream_from_afar_comes_whole_and_in_order_though_envelopes_are_lost(seed: int) -> None:
    world, _, programs = known_far_provider(seed)
    world.faults.envelope_loss = 0.2
    number = programs.call("n1", "add", 30_000, answering=Answering.STREAM)
    programs.run_for(30.0)
    heard = programs.answers["n1", number]
    assert all(isinstance(each, RpcResult) for each in heard), world.replay
    values = [decode_value(each.payload) for each in heard if isinstance(each, RpcResult)]
    assert values == [*range(programs.parts), number], world.replay
    assert [each.more for each in heard if isinstance(each, RpcResult)][-2:] == [True, False]


@pytest.mark.parametrize("seed", range(3))
def test_error_ends_a_stream_from_afar_behind_all_that_came_before_it(seed: int) -> None:
    world, far, programs = known_far_provider(seed)
    world.say(far, RpcRegister(("breaks",)))
    programs.run_for(3.0)
    world.faults.envelope_loss = 0.2
    number = programs.call("n1", "breaks", 30_000, answering=Answering.STREAM)
    programs.run_for(30.0)
    *parts, last = programs.answers["n1", number]
    assert isinstance(last, RpcError), world.replay
    assert last.code == RpcErrorCode.HANDLER_FAILED, world.replay
    assert len(parts) == programs.parts, world.replay


@pytest.mark.parametrize("seed", range(4))
def test_every_call_ends_once_by_its_deadline_under_loss_kills_and_partitions(seed: int) -> None:
    world, names, programs = mesh(16, seed)
    for name in names[::4]:
        world.say(name, RpcRegister(("add", "sleepy")))
    programs.run_for(3.0)
    world.faults.envelope_loss, world.faults.loss = 0.1, 0.05
    callers = ("n2", "n3", "n4")
    for turn in range(60):
        for name in callers:
            method = "sleepy" if turn % 7 == 0 else "add"
            programs.call(name, method, choice=turn % len(Choice))
        if turn == 15:
            world.kill(names[4])
        if turn == 25:
            world.partition(names[:8], names[8:])
        if turn == 40:
            world.faults.heal()
        if turn == 45:
            world.start(names[4], peers=(world.hosts["n1"].address,))
        programs.run_for(0.25)
    programs.run_for(6.0)
    programs.check_ends()
    kinds = [type(answers[0]) for answers in programs.answers.values()]
    assert kinds.count(RpcResult) > len(kinds) / 2, world.replay


def test_call_that_nobody_answers_is_told_so_within_a_second_in_a_mesh_of_25() -> None:
    world, _, programs = mesh(25, 7)
    for _ in range(5):
        number = programs.call("n1", "nobody.home")
        programs.run_for(1.0)
        (answer,) = programs.answers["n1", number]
        assert isinstance(answer, RpcError), world.replay
        assert answer.code == RpcErrorCode.NO_PROVIDER, world.replay


def test_method_that_was_withdrawn_meanwhile_is_found_elsewhere_or_not_at_all() -> None:
    world, far, programs = known_far_provider(3)
    before = calls_in(world, far)
    world.say(far, RpcUnregister(("add",)))
    for _ in range(3):
        number = programs.call("n1", "add")
        programs.run_for(4.0)
        (answer,) = programs.answers["n1", number]
        assert isinstance(answer, RpcError), world.replay
        assert answer.code == RpcErrorCode.NO_PROVIDER, world.replay
    assert calls_in(world, far) == before + 1, world.replay


def test_cancelled_far_call_is_cancelled_at_its_provider() -> None:
    world, far, programs = known_far_provider(4)
    number = programs.call("n1", "sleepy", 60_000)
    programs.run_for(1.0)
    assert not programs.cancelled
    world.say("n1", RpcCancel(number))
    programs.run_for(1.0)
    assert [name for name, _ in programs.cancelled] == [far], world.replay
    assert ("n1", number) not in programs.answers, world.replay


def test_provider_hears_when_its_caller_is_gone_or_its_deadline_has_passed() -> None:
    world, far, programs = known_far_provider(5)
    programs.call("n1", "sleepy", 60_000)
    programs.run_for(1.0)
    world.disconnect_client("n1")
    programs.run_for(1.0)
    assert [name for name, _ in programs.cancelled] == [far], world.replay
    world.connect_client("n1")
    number = programs.call("n1", "sleepy", 1000)
    programs.run_for(1.5)
    assert len(programs.cancelled) == 2, world.replay
    (answer,) = world.heard("n1", RpcError)
    assert isinstance(answer, RpcError)
    assert answer.call == number
    assert answer.code == RpcErrorCode.DEADLINE_EXCEEDED, world.replay


def test_cast_reaches_its_provider_and_has_no_answer() -> None:
    world, far, programs = known_far_provider(6)
    number = programs.call("n1", "add", answering=Answering.NONE)
    lost = programs.call("n1", "nobody.home", answering=Answering.NONE)
    programs.run_for(6.0)
    assert programs.runs[number] == 1, world.replay
    assert programs.runs_at[far] == 2, world.replay
    assert not {("n1", number), ("n1", lost)} & programs.answers.keys(), world.replay
    stats = world.ask("n1", "macula.stats")
    assert isinstance(stats, dict)
    assert stats["pending_calls"] == 0


@pytest.mark.parametrize("choice", [Choice.ROUND_ROBIN, Choice.RANDOM, Choice.LEAST_PENDING])
def test_policies_that_spread_use_every_provider_of_a_mesh(choice: Choice) -> None:
    world, names, programs = mesh(16, 9)
    providers = names[1::4]
    for name in providers:
        world.say(name, RpcRegister(("add",)))
    programs.run_for(3.0)
    programs.call("n1", "add", choice=choice)
    programs.run_for(2.0)
    before = programs.runs_at.copy()
    for _ in range(60):
        programs.call("n1", "add", choice=choice)
        programs.run_for(0.05)
    programs.run_for(3.0)
    counts = [programs.runs_at[name] - before[name] for name in providers]
    assert sum(counts) == 60, world.replay
    fair = 60 / len(providers)
    # In turn they differ by what was lost of a turn; by lot, and by who is quick, by more.
    least = {Choice.ROUND_ROBIN: fair - 2, Choice.LEAST_PENDING: fair / 2, Choice.RANDOM: fair / 4}
    assert min(counts) >= least[choice], (counts, world.replay)


def test_provider_that_restarts_does_not_run_a_call_of_its_former_life_again() -> None:
    world, far, programs = known_far_provider(8)
    number = programs.call("n1", "sleepy", 60_000)
    while not programs.runs[number]:
        programs.run_for(0.01)
    world.kill(far)
    world.start(far, peers=(world.hosts["n2"].address,))
    world.connect_client(far)
    world.say(far, RpcRegister(("add", "sleepy")))
    programs.run_for(70.0)
    assert programs.runs[number] == 1, world.replay
    assert isinstance(programs.answers["n1", number][0], RpcError), world.replay


@pytest.mark.parametrize("seed", range(2))
def test_calls_under_way_go_on_while_a_mesh_grows_and_links_are_given_up(seed: int) -> None:
    world, names, programs = mesh(9, seed)
    for name in names[:3]:
        world.say(name, RpcRegister(("slow",)))
    programs.run_for(1.0)
    for turn in range(80):
        for name in names[3:]:
            programs.call(name, "slow")
        if turn % 6 == 5:
            world.start(f"new{turn}", peers=(world.hosts["n1"].address,))
        programs.run_for(0.2)
    programs.run_for(7.0)
    programs.check_ends()
    failed = [each for (each,) in programs.answers.values() if isinstance(each, RpcError)]
    assert not failed, (failed[:3], world.replay)
