"""Ending a jail: politely first, by force after the deadline, and never a stranger."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from jails.keeper.ending import Ending, Patience
from jails.keeper.records import JailDirectory, Report
from jails.runtime import JailError
from jails.spec import JailState
from maculaos.host.clock import FakeClock
from maculaos.host.locks import take_lock
from maculaos.host.processes import FakeProcesses, ProcessMark

if TYPE_CHECKING:
    from pathlib import Path

KEEPER = ProcessMark(10, "a")
PROGRAM = ProcessMark(11, "b")


@pytest.fixture
def directory(tmp_path: Path) -> JailDirectory:
    (tmp_path / "n1").mkdir()
    directory = JailDirectory(tmp_path / "n1")
    directory.claim()
    directory.write_report(
        Report(keeper=KEEPER, program=PROGRAM, state=JailState.RUNNING, program_digest="")
    )
    return directory


def end(directory: JailDirectory, processes: FakeProcesses) -> float:
    """Seconds that it took."""
    clock = FakeClock()
    Ending(directory, clock, processes, Patience(10.0)).run()
    return clock.monotonic()


def test_a_living_keeper_is_asked_and_its_program_left_to_it(directory: JailDirectory) -> None:
    processes = FakeProcesses()
    processes.put(KEEPER.pid, KEEPER.born)
    processes.put(PROGRAM.pid, PROGRAM.born)

    def keeper_ends_program(process: ProcessMark, _number: int) -> None:
        if process == KEEPER:
            processes.running.pop(PROGRAM.pid)

    processes.on_signal = keeper_ends_program
    assert end(directory, processes) < 1.0
    assert processes.signalled == [(KEEPER, signal.SIGTERM)]


def test_an_orphan_and_its_group_get_the_deadline_and_then_force(
    directory: JailDirectory,
) -> None:
    processes = FakeProcesses()
    processes.put(PROGRAM.pid, PROGRAM.born)
    deaf = processes.put(12, "c", leader_pid=PROGRAM.pid)
    processes.deaf.add(12)
    # The first is gone after the request, so the deaf one must be known by its mark.
    processes.values[12] = str(directory.path)
    assert 10.0 <= end(directory, processes) < 11.0
    assert processes.signalled == [
        (PROGRAM, signal.SIGTERM),
        (deaf, signal.SIGTERM),
        (deaf, signal.SIGKILL),
    ]


def test_a_deaf_keeper_is_killed_and_then_its_program_ended(directory: JailDirectory) -> None:
    processes = FakeProcesses()
    processes.put(KEEPER.pid, KEEPER.born)
    processes.put(PROGRAM.pid, PROGRAM.born)
    processes.deaf |= {KEEPER.pid, PROGRAM.pid}
    assert end(directory, processes) > 10.0
    assert processes.running == {}


def test_strangers_with_our_numbers_are_spared(directory: JailDirectory) -> None:
    processes = FakeProcesses()
    processes.put(KEEPER.pid, "later")
    processes.put(PROGRAM.pid, "later")
    processes.put(12, "later still", leader_pid=PROGRAM.pid, value="/another/jail")
    assert end(directory, processes) == 0.0
    assert processes.signalled == []


def test_who_was_met_is_waited_for_though_it_shows_nothing_any_more(
    directory: JailDirectory,
) -> None:
    """As a process does between the end of its memory and its own."""
    processes = FakeProcesses()
    exiting = processes.put(12, "c", value=str(directory.path))
    processes.deaf.add(12)
    processes.on_signal = lambda process, _number: processes.values.update({process.pid: None})
    assert end(directory, processes) >= 10.0
    assert processes.signalled == [(exiting, signal.SIGTERM), (exiting, signal.SIGKILL)]


def test_a_jail_without_records_is_ended_by_the_census_alone(directory: JailDirectory) -> None:
    (directory.path / "keeper.json").unlink()
    processes = FakeProcesses()
    words = ("python", "-m", "jails.keeper", str(directory.path), "1")
    keeper = processes.put(10, "a", arguments=words)
    program = processes.put(11, "b", value=str(directory.path))
    neighbour = processes.put(12, "c", value=f"{directory.path}2")
    assert end(directory, processes) < 1.0
    assert processes.signalled == [(keeper, signal.SIGTERM), (program, signal.SIGTERM)]
    assert processes.is_alive(neighbour)


def test_whatever_is_below_an_orphan_ends_with_it(directory: JailDirectory) -> None:
    """Although it went to a session of its own and shows no mark."""
    processes = FakeProcesses()
    processes.put(PROGRAM.pid, PROGRAM.born)
    stray = processes.put(12, "c")
    neighbour = processes.put(13, "d")
    processes.parents = {12: PROGRAM.pid, PROGRAM.pid: 1, 13: 1}
    processes.deaf.add(12)
    assert 10.0 <= end(directory, processes) < 11.0
    assert not processes.is_alive(stray)
    assert processes.is_alive(neighbour)


def test_who_inherited_the_lock_is_ended_when_nothing_else_leads_to_it(
    directory: JailDirectory,
) -> None:
    handle = take_lock(directory.lock)
    processes = FakeProcesses()
    stray = processes.put(12, "c")
    processes.lock_holders.add(12)
    processes.on_signal = lambda _process, _number: os.close(handle)
    assert end(directory, processes) < 1.0
    assert processes.signalled == [(stray, signal.SIGTERM)]


def test_a_lock_that_somebody_unknown_holds_is_told(directory: JailDirectory) -> None:
    handle = take_lock(directory.lock)
    try:
        with pytest.raises(JailError, match="does not end, not even by force; see who holds it"):
            end(directory, FakeProcesses())
    finally:
        os.close(handle)
    assert end(directory, FakeProcesses()) == 0.0
