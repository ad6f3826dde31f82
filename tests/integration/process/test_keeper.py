"""The keeper with real programs: started again, stopped in time, bounded, and alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.process import ProcessRuntime, ProcessSettings
from jails.runtime import JailError
from jails.spec import JailSpec, JailState, Restart, RestartPolicy
from jailyard import (
    FAMILY,
    LONELY_SPEC,
    check_alone,
    check_starts,
    child_of,
    directory_of,
    ends,
    is_running,
    keeper_of,
)
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path


def test_a_killed_program_is_started_again_and_counted(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    before = jailyard.pid_of(root)
    os.kill(before, signal.SIGKILL)
    jailyard.eventually("it restarts", lambda: jailyard.facts_of(root).restarts == 1)
    assert jailyard.pid_of(root) != before
    assert jailyard.facts_of(root).last_exit == "killed by SIGKILL"
    check_alone(root)


def test_between_two_starts_it_backs_off_and_can_be_stopped(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, restart=Restart(base_s=1000.0, max_s=1000.0)))
    os.kill(jailyard.pid_of(root), signal.SIGKILL)
    backing_off = JailState.BACKING_OFF
    jailyard.eventually("it backs off", lambda: jailyard.facts_of(root).state is backing_off)
    runtime.stop("n1")
    assert jailyard.facts_of(root).state is JailState.STOPPED


@pytest.mark.parametrize(
    ("policy", "status"), [(RestartPolicy.NEVER, 7), (RestartPolicy.ON_FAILURE, 0)]
)
def test_a_program_that_may_rest_is_over_and_its_keeper_goes(
    root: Path, runtime: ProcessRuntime, policy: RestartPolicy, status: int
) -> None:
    wait = "import os, time\nwhile not os.path.exists('go'): time.sleep(.005)"
    code = f"{wait}\nraise SystemExit({status})"
    runtime.ensure(
        JailSpec(name="n1", command=jailyard.python(code), restart=Restart(policy=policy))
    )
    keeper = keeper_of(root)
    (runtime.data_path("n1") / "go").touch()
    jailyard.eventually("it is over", lambda: jailyard.facts_of(root).state is JailState.FAILED)
    assert jailyard.facts_of(root).last_exit == f"exited with status {status}"
    ends(keeper)
    runtime.stop("n1")
    assert jailyard.facts_of(root).state is JailState.STOPPED


def test_stop_ends_grandchildren_after_the_deadline(root: Path, runtime: ProcessRuntime) -> None:
    spec = replace(LONELY_SPEC, command=FAMILY, stop_deadline_s=0.3)
    runtime.ensure(spec)
    child, program = child_of(root), jailyard.pid_of(root)
    runtime.stop("n1")
    assert not is_running(child)
    assert not is_running(program)


def test_children_of_a_program_that_crashed_do_not_meet_its_successor(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=FAMILY))
    child = child_of(root)
    (directory_of(root).data / "child").unlink()
    os.kill(jailyard.pid_of(root), signal.SIGKILL)
    assert child_of(root) != child
    assert not is_running(child)


def test_a_program_that_ignores_the_request_is_killed_after_its_deadline(
    root: Path, runtime: ProcessRuntime
) -> None:
    deaf = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True)"
    command = jailyard.python(f"{deaf}\nwhile True: signal.pause()")
    runtime.ensure(JailSpec(name="n1", command=command, stop_deadline_s=0.3))
    jailyard.eventually("it is deaf", lambda: runtime.logs("n1", 1) == ["deaf"])
    began = time.monotonic()
    runtime.stop("n1")
    assert time.monotonic() - began >= 0.3
    assert jailyard.facts_of(root).last_exit == "killed by SIGKILL"
    assert jailyard.processes_of(root) == []


def test_a_stuck_keeper_is_killed_with_its_program(root: Path) -> None:
    settings = replace(jailyard.SETTINGS, keeper_patience_s=0.1)
    runtime = ProcessRuntime(root, SystemClock(), settings)
    runtime.ensure(replace(LONELY_SPEC, stop_deadline_s=0.2))
    os.kill(keeper_of(root), signal.SIGSTOP)
    runtime.stop("n1")
    jailyard.eventually("nothing is left", lambda: jailyard.processes_of(root) == [])
    assert jailyard.facts_of(root).state is JailState.STOPPED


def test_a_program_that_ends_at_once_is_told_with_its_last_words(root: Path) -> None:
    runtime = ProcessRuntime(root, SystemClock(), ProcessSettings(settle_s=5.0))
    command = ("sh", "-c", "echo no such port; exit 3")
    # Told before it is started again, however slow the machine is.
    slowly = Restart(base_s=1000.0, max_s=1000.0)
    bad = JailSpec(name="n1", command=command, restart=slowly)
    with pytest.raises(
        JailError, match=r"n1: ended at once: exited with status 3; it wrote: no such port$"
    ):
        runtime.ensure(bad)
    assert jailyard.facts_of(root).state in {JailState.BACKING_OFF, JailState.RUNNING}


def test_a_program_that_is_not_there_is_told(runtime: ProcessRuntime) -> None:
    with pytest.raises(JailError, match="cannot start nosuch: No such file or directory"):
        runtime.ensure(JailSpec(name="n1", command=("nosuch",)))


def test_a_keeper_that_comes_too_late_gives_up(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    assignment = directory_of(root).assignment()
    assert assignment is not None
    check_starts(root, 1)
    runtime.stop("n1")
    late = subprocess.run(
        [sys.executable, "-m", "jails.keeper", str(root / "n1"), str(assignment.launch)],
        capture_output=True,
        text=True,
        timeout=jailyard.PATIENCE_S,
        check=False,
    )
    assert (late.returncode, late.stderr) == (4, "the launch was called off\n")
    jailyard.eventually("it is gone", lambda: jailyard.processes_of(root) == [])
    check_starts(root, 1)


def test_a_second_keeper_is_refused_while_an_orphan_lives(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    os.kill(keeper_of(root), signal.SIGKILL)
    second = subprocess.run(
        [sys.executable, "-m", "jails.keeper", str(root / "n1"), "1"],
        capture_output=True,
        text=True,
        timeout=jailyard.PATIENCE_S,
        check=False,
    )
    assert second.returncode == 4
    assert "is locked" in second.stderr
    check_starts(root, 1)


def test_the_environment_is_clean(
    root: Path, runtime: ProcessRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "x")
    code = (
        "import json, os, signal\n"
        "fds = sorted(map(int, os.listdir('/proc/self/fd')))[:-1]\n"
        "ignored = [n for n in signal.valid_signals()"
        " if n not in (signal.SIGPIPE, signal.SIGXFSZ)"
        " and signal.getsignal(n) == signal.SIG_IGN]\n"
        "print(json.dumps([dict(os.environ), os.getcwd(), len(fds), ignored,"
        " os.readlink('/proc/self/fd/0'), os.getsid(0) == os.getpid()]), flush=True)\n"
        "signal.pause()\n"
    )
    spec = JailSpec(name="n1", command=jailyard.python(code), environment={"STATE": "{data}/state"})
    runtime.ensure(spec)
    jailyard.eventually("it says", lambda: bool(runtime.logs("n1", 1)))
    environment, folder, handles, ignored, stdin, leads = json.loads(runtime.logs("n1", 1)[0])
    data = str(runtime.data_path("n1"))
    path = environment.pop("PATH")
    assert path.split(":")[0] == os.path.dirname(sys.executable)
    assert environment.pop("MACULA_JAIL") == str(root / "n1")
    assert environment == {"HOME": data, "LANG": "C.UTF-8", "STATE": f"{data}/state"}
    # Standard input, output, error, and the lock.
    assert (folder, handles, ignored, stdin, leads) == (data, 4, [], "/dev/null", True)


def test_the_log_is_bounded(root: Path) -> None:
    runtime = ProcessRuntime(root, SystemClock(), ProcessSettings(log_bytes=10_000))
    code = "for n in range(20000): print('line', n)\nprint('end', flush=True)\nimport signal"
    runtime.ensure(JailSpec(name="n1", command=jailyard.python(f"{code}\nsignal.pause()")))
    jailyard.eventually("it wrote all", lambda: runtime.logs("n1", 1) == ["end"])
    sizes = {file.name: file.stat().st_size for file in (root / "n1").glob("log*")}
    assert set(sizes) == {"log", "log.1"}
    assert max(sizes.values()) <= 10_000
    assert runtime.logs("n1", 3) == ["line 19998", "line 19999", "end"]


def test_a_port_is_free_again_after_stop(runtime: ProcessRuntime) -> None:
    code = (
        "import signal, socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0))\n"
        "print(s.getsockname()[1], flush=True); signal.pause()\n"
    )
    runtime.ensure(JailSpec(name="n1", command=jailyard.python(code)))
    jailyard.eventually("it says its port", lambda: bool(runtime.logs("n1", 1)))
    runtime.stop("n1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mine:
        mine.bind(("127.0.0.1", int(runtime.logs("n1", 1)[0])))
