"""A process is its id and its birth: nobody else with that id is seen, signalled or counted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from maculaos.host.processes import (
    FakeProcesses,
    ProcessMark,
    ProcessTable,
    ProcfsProcesses,
    PsutilProcesses,
    system_processes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
FAMILY = (
    "import os, signal\nchild = os.fork()\nif child: print(child, flush=True)\nsignal.pause()\n"
)


@pytest.fixture(params=[pytest.param(ProcfsProcesses, marks=ON_LINUX), PsutilProcesses])
def table(request: pytest.FixtureRequest) -> ProcessTable:
    made: ProcessTable = request.param()
    return made


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", "-c", "import signal; print(flush=True); signal.pause()"]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, env={"MARK": "a=b c", "MARK2": "x"}
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def mark_of(table: ProcessTable, pid: int) -> ProcessMark:
    mark = table.mark(pid)
    assert mark is not None
    return mark


def test_a_living_process_is_known_again(
    table: ProcessTable, sleeper: subprocess.Popen[bytes]
) -> None:
    mark = mark_of(table, sleeper.pid)
    assert table.is_alive(mark)
    assert mark_of(type(table)(), sleeper.pid) == mark


def test_another_with_the_same_id_is_nobody(
    table: ProcessTable, sleeper: subprocess.Popen[bytes]
) -> None:
    stale = replace(mark_of(table, sleeper.pid), born="long ago")
    assert not table.is_alive(stale)
    assert not table.signal(stale, signal.SIGKILL)
    assert sleeper.poll() is None


def test_an_ended_process_is_dead_before_it_is_reaped(
    table: ProcessTable, sleeper: subprocess.Popen[bytes]
) -> None:
    mark = mark_of(table, sleeper.pid)
    assert table.signal(mark, signal.SIGTERM)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert table.mark(sleeper.pid) == mark
    assert not table.is_alive(mark)
    assert not table.signal(mark, signal.SIGTERM)
    assert table.session(sleeper.pid) == ()
    sleeper.wait()
    assert table.mark(sleeper.pid) is None


def test_a_session_is_its_leader_and_those_it_started(table: ProcessTable) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], start_new_session=True, stdout=subprocess.PIPE
    ) as leader:
        assert leader.stdout is not None
        child = int(leader.stdout.readline())
        seen = {mark.pid for mark in table.session(leader.pid)}
        leader.kill()
        leader.wait()
        assert seen == {leader.pid, child}
        (left,) = table.session(leader.pid)
        assert left.pid == child
        assert table.signal(left, signal.SIGKILL)
        leader.stdout.read()


def test_a_scan_meets_each_process_of_ours_once_with_what_it_was_started_with(
    table: ProcessTable, sleeper: subprocess.Popen[bytes]
) -> None:
    met = list(table.scan("MARK"))
    assert len({sighting.process.pid for sighting in met}) == len(met)
    (found,) = (sighting for sighting in met if sighting.process.pid == sleeper.pid)
    assert found.process == mark_of(table, sleeper.pid)
    assert found.arguments[1:3] == ("-I", "-c")
    assert (found.value, found.leads_session) == ("a=b c", True)
    (us,) = (sighting for sighting in met if sighting.process.pid == os.getpid())
    assert us.value is None


def test_a_scan_leaves_out_who_ended_and_who_is_not_ours(
    table: ProcessTable, sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(os, "geteuid", lambda: 12_345)
        assert list(table.scan("MARK")) == []
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert sleeper.pid not in {sighting.process.pid for sighting in table.scan("MARK")}


def test_the_best_table_for_this_machine_sees_us() -> None:
    table = system_processes()
    assert table.is_alive(mark_of(table, os.getpid()))


@ON_LINUX
def test_a_strange_program_name_does_not_confuse_the_reader() -> None:
    code = "open('/proc/self/comm', 'w').write(') R 1 1 1'); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as odd:
        assert odd.stdout is not None
        odd.stdout.readline()
        table = ProcfsProcesses()
        assert psutil.Process(odd.pid).name() == ") R 1 1 1"
        assert table.is_alive(mark_of(table, odd.pid))
        assert odd.pid not in {mark.pid for mark in table.session(1)}
        odd.kill()


def test_the_fake_ends_who_is_signalled_and_spares_the_deaf() -> None:
    fake = FakeProcesses()
    leader, child = fake.put(7, "a", value="/h"), fake.put(8, "b", leader_pid=7)
    fake.deaf.add(8)
    assert [(s.value, s.leads_session) for s in fake.scan("ANY")] == [("/h", True), (None, False)]
    assert set(fake.session(7)) == {leader, child}
    assert not fake.signal(replace(leader, born="c"), signal.SIGTERM)
    assert fake.signal(leader, signal.SIGTERM)
    assert fake.signal(child, signal.SIGTERM)
    assert (fake.mark(7), fake.mark(8)) == (None, child)
    assert [sighting.process for sighting in fake.scan("ANY")] == [child]
    assert fake.signal(child, signal.SIGKILL)
    assert fake.signalled[-1] == (child, signal.SIGKILL)
    assert fake.session(7) == ()
