"""What a program started that went its own way: it ends with the program, whatever it did."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jailyard import LONELY_SPEC, ends, is_running, keeper_of

if TYPE_CHECKING:
    from pathlib import Path

    from jails.process import ProcessRuntime

pytestmark = pytest.mark.skipif(
    sys.platform == "darwin", reason="nobody can adopt orphans on macOS"
)

# Starts a stray that keeps neither group, session, parent nor environment; with its own code.
LEAVE = (
    "import os, signal, sys\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork(): os._exit(0)\n"
    "    code = 'import os, signal, time\\n' + {stray!r}\n"
    "    os.execve(sys.executable, [sys.executable, '-I', '-S', '-c', code], {{}})\n"
    "signal.pause()\n"
)
SAY = (
    "f = open('stray.new', 'w'); f.write(str(os.getpid())); f.close()\n"
    "os.rename('stray.new', 'stray')\n"
)
OBEY = f"{SAY}while True: signal.pause()"
DEAF = f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{OBEY}"
# Always on the move: whoever is looked at has a child, and is gone.
# Nobody is left after a minute, whatever becomes of it.
FLEE = (
    f"{SAY}end = time.monotonic() + 60\nwhile time.monotonic() < end:\n"
    "    if os.fork(): os._exit(0)\n    os.setsid(); time.sleep(.0005)"
)


def leaving(stray: str) -> tuple[str, ...]:
    return jailyard.python(LEAVE.format(stray=stray))


def stray_of(runtime: ProcessRuntime) -> int:
    file = runtime.data_path("n1") / "stray"
    jailyard.eventually("the stray runs", file.exists)
    return int(file.read_text())


def forget(runtime: ProcessRuntime) -> None:
    (runtime.data_path("n1") / "stray").unlink()


def in_data(runtime: ProcessRuntime) -> list[int]:
    """Whoever has the jail's folder as its own, whatever else it threw away."""
    data, found = str(runtime.data_path("n1")), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == data and is_running(int(pid)):
                found.append(int(pid))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("code", [OBEY, DEAF], ids=["obedient", "deaf"])
def test_stop_ends_what_left_group_session_parent_and_environment(
    root: Path, runtime: ProcessRuntime, code: str
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=leaving(code), stop_deadline_s=0.5))
    stray = stray_of(runtime)
    keeper = keeper_of(root)
    with open(f"/proc/{stray}/stat") as stat:
        assert int(stat.read().rpartition(")")[2].split()[1]) == keeper
    runtime.stop("n1")
    assert not is_running(stray)


def test_a_stray_does_not_meet_the_successor_of_a_program_that_crashed(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=leaving(DEAF), stop_deadline_s=0.3))
    stray, program = stray_of(runtime), jailyard.pid_of(root)
    forget(runtime)
    os.kill(program, signal.SIGKILL)
    assert stray_of(runtime) != stray
    assert not is_running(stray)


def test_an_obedient_stray_does_not_delay_the_next_start(
    root: Path, runtime: ProcessRuntime
) -> None:
    """It is asked at once, so the deadline of this test is a matter of moments."""
    runtime.ensure(replace(LONELY_SPEC, command=leaving(OBEY), stop_deadline_s=1000.0))
    stray, program = stray_of(runtime), jailyard.pid_of(root)
    forget(runtime)
    os.kill(program, signal.SIGKILL)
    assert stray_of(runtime) != stray
    runtime.stop("n1")


def test_those_that_fork_while_they_are_ended_are_ended_too(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=leaving(FLEE), stop_deadline_s=0.2))
    stray_of(runtime)
    assert in_data(runtime)
    runtime.stop("n1")
    # One look may miss whoever moves on meanwhile.
    assert [in_data(runtime) for _ in range(20)] == [[]] * 20


def test_orphans_that_end_are_let_go_while_the_program_runs(
    root: Path, runtime: ProcessRuntime
) -> None:
    """Nothing that ended may fill the table of processes."""
    runtime.ensure(replace(LONELY_SPEC, command=leaving(f"{SAY}raise SystemExit")))
    stray = stray_of(runtime)
    jailyard.eventually("it is let go", lambda: not os.path.exists(f"/proc/{stray}"))
    assert is_running(jailyard.pid_of(root))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
@pytest.mark.parametrize("code", [OBEY, DEAF], ids=["obedient", "deaf"])
def test_what_kill_9_of_keeper_and_program_left_without_a_mark_is_ended_by_its_lock(
    root: Path, runtime: ProcessRuntime, code: str
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=leaving(code), stop_deadline_s=0.3))
    stray, program, keeper = stray_of(runtime), jailyard.pid_of(root), keeper_of(root)
    for pid in (keeper, program):
        os.kill(pid, signal.SIGKILL)
        ends(pid)
    assert is_running(stray)
    runtime.remove("n1")
    assert not is_running(stray)
    jailyard.check_nothing_left(root)


def test_a_keeper_stays_small(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    with open(f"/proc/{keeper_of(root)}/status") as status:
        (line,) = (line for line in status if line.startswith("RssAnon"))
    assert int(line.split()[1]) < 12 * 1024
