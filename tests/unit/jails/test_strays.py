"""Strays: asked once, ended by force when the time is over, and given up if force is in vain."""

from __future__ import annotations

import signal

from jails.keeper.strays import FORCE_S, Strays
from maculaos.host.processes import FakeProcesses, ProcessMark

KEEPER = 10
FORCE_AT = 5.0


def family(*pids: int) -> FakeProcesses:
    """Each below the one before it, the first below the keeper."""
    processes = FakeProcesses()
    for parent, pid in zip((KEEPER, *pids), pids, strict=False):
        processes.put(pid, "a")
        processes.parents[pid] = parent
    return processes


def test_where_nobody_is_left_nothing_is_waited_for() -> None:
    processes = FakeProcesses()
    stranger = processes.put(11, "a")
    assert not Strays(KEEPER, processes, lambda: False).has_any(0.0, FORCE_AT)
    assert processes.is_alive(stranger)


def test_what_a_look_misses_is_waited_for_though_not_forever() -> None:
    strays = Strays(KEEPER, FakeProcesses(), lambda: True)
    assert strays.has_any(0.0, FORCE_AT)
    assert strays.has_any(FORCE_AT, FORCE_AT)
    assert not strays.has_any(FORCE_AT + FORCE_S + 0.1, FORCE_AT)


def test_each_is_asked_once_and_then_ended_by_force() -> None:
    processes = family(11, 12)
    processes.deaf |= {11, 12}
    strays = Strays(KEEPER, processes, lambda: False)
    assert all(strays.has_any(now, FORCE_AT) for now in (0.0, 1.0, 2.0))
    assert [number for _, number in processes.signalled] == [signal.SIGTERM] * 2
    assert strays.has_any(FORCE_AT, FORCE_AT)
    assert processes.running == {}
    assert not strays.has_any(FORCE_AT, FORCE_AT)


def test_who_is_born_in_between_is_met_too() -> None:
    processes = family(11)
    births = iter(range(20, 25))

    def gives_birth(process: ProcessMark, _number: int) -> None:
        if (child := next(births, None)) is not None:
            processes.put(child, "b")
            processes.parents[child] = KEEPER

    processes.on_signal = gives_birth
    strays = Strays(KEEPER, processes, lambda: False)
    rounds = 0
    while strays.has_any(float(rounds), FORCE_AT):
        rounds += 1
    assert rounds == 6
    assert processes.running == {}


def test_what_withstands_force_is_given_up() -> None:
    class Untouchable(FakeProcesses):
        def signal(self, process: ProcessMark, number: int) -> bool:
            raise PermissionError(number, str(process))

    processes = Untouchable()
    processes.put(11, "a")
    processes.parents[11] = KEEPER
    strays = Strays(KEEPER, processes, lambda: False)
    # Late, as after a machine that slept: force still gets its time.
    late = FORCE_AT + 1000.0
    assert strays.has_any(late, FORCE_AT)
    assert strays.has_any(late + FORCE_S, FORCE_AT)
    assert not strays.has_any(late + FORCE_S + 0.1, FORCE_AT)
