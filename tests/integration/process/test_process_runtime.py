"""The process runtime with real processes, killed at every point that hurts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jailyard
from jails.keeper.records import MARKER, JailDirectory
from jails.process import ProcessRuntime
from jails.spec import JailFile, JailSpec, JailState
from jailyard import (
    LONELY,
    LONELY_SPEC,
    check_alone,
    check_nothing_left,
    check_starts,
    directory_of,
    ends,
    is_running,
    keeper_of,
)
from maculaos.host.clock import SystemClock
from maculaos.host.processes import ProcfsProcesses

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from maculaos.host.processes import ProcessMark, Sighting

# A caller in a process of its own, to be killed or to compete.
CALLER = (
    "import sys; from pathlib import Path; import jailyard; from jails.spec import JailSpec\n"
    "root, *command = sys.argv[1:]\n"
    "print('begin', flush=True)\n"
    "jailyard.runtime_at(Path(root)).ensure("
    "JailSpec(name='n1', command=tuple(command), stop_deadline_s=5.0))\n"
    "print('done', flush=True)\n"
)


def caller(root: Path) -> subprocess.Popen[str]:
    """Another process that ensures ``LONELY_SPEC``."""
    tests = os.path.dirname(jailyard.__file__)
    return subprocess.Popen(
        [sys.executable, "-c", CALLER, str(root), *LONELY],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": tests, "PATH": os.defpath},
    )


def test_a_new_runtime_adopts_what_runs(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    before = jailyard.facts_of(root)
    with caller(root) as other:
        said, complaint = other.communicate(timeout=jailyard.PATIENCE_S)
    assert said.split() == ["begin", "done"], complaint
    assert jailyard.facts_of(root) == before
    check_starts(root, 1)


def test_the_keeper_outlives_the_process_that_asked_for_it(root: Path) -> None:
    with caller(root) as other:
        _, complaint = other.communicate(timeout=jailyard.PATIENCE_S)
    assert other.returncode == 0, complaint
    assert is_running(jailyard.pid_of(root))
    assert os.getsid(keeper_of(root)) == keeper_of(root) != os.getsid(0)


def test_two_that_ensure_at_once_start_one(root: Path) -> None:
    with caller(root) as first, caller(root) as second:
        for each in (first, second):
            said, complaint = each.communicate(timeout=jailyard.PATIENCE_S)
            assert said.split() == ["begin", "done"], complaint
    check_starts(root, 1)
    check_alone(root)


@pytest.mark.parametrize("delay_ms", [0, 1, 2, 4, 8, 12, 16, 20, 25, 30, 40, 60])
def test_a_caller_killed_on_its_way_leaves_what_the_next_ensure_repairs(
    root: Path, runtime: ProcessRuntime, delay_ms: int
) -> None:
    with caller(root) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "begin\n"
        with suppress(subprocess.TimeoutExpired):
            # Not a wait for anything: the point at which the caller dies.
            other.wait(timeout=delay_ms / 1000)
        other.kill()
    runtime.ensure(LONELY_SPEC)
    assert jailyard.facts_of(root).program_digest == LONELY_SPEC.program_digest()
    check_alone(root)
    runtime.remove("n1")
    jailyard.eventually("late keepers give up", lambda: jailyard.processes_of(root) == [])
    check_nothing_left(root)


@pytest.mark.parametrize("left", ["directory", "marker", "data", "assignment", "temporary"])
def test_what_a_crash_left_of_a_first_ensure_is_completed(
    root: Path, runtime: ProcessRuntime, left: str
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    directory = directory_of(root)
    stages = ["directory", "marker", "data", "assignment", "temporary"]
    gone = stages[stages.index(left) + 1 :]
    for entry in directory.path.iterdir():
        is_kept = entry.name in {MARKER, "data"} or "assignment" not in gone
        if not (is_kept and entry.name in {MARKER, "data", "spec.json"}):
            entry.unlink()
    if left == "temporary":
        (directory.path / ".spec.json.12345.0123abcd").touch()
    if "data" in gone:
        for entry in directory.data.iterdir():
            entry.unlink()
        directory.data.rmdir()
    if "marker" in gone:
        directory.disclaim()
    runtime.ensure(LONELY_SPEC)
    assert jailyard.facts_of(root).state is JailState.RUNNING
    assert not list(directory.path.glob(".spec.json.*"))


def test_remove_leaves_nothing_and_what_it_left_half_done_is_completed(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.remove("n1")
    check_nothing_left(root)
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    for entry in directory_of(root).contents():
        if entry.is_file():
            entry.unlink()
    assert list(runtime.look()) == ["n1"]
    runtime.remove("n1")
    check_nothing_left(root)


class CountedScans(ProcfsProcesses):
    """The machine's own processes, and how often all of them were looked at."""

    scans = 0

    def scan(self, variable: str) -> Iterator[Sighting]:
        self.scans += 1
        return super().scan(variable)

    def session(self, leader_pid: int) -> tuple[ProcessMark, ...]:
        self.scans += 1
        return super().session(leader_pid)


def test_a_thousand_jails_are_seen_within_a_second(root: Path) -> None:
    processes = CountedScans()
    runtime = ProcessRuntime(root, SystemClock(), jailyard.SETTINGS, processes=processes)
    spec = replace(
        LONELY_SPEC, files=tuple(JailFile(path=f"f{n}", content=b"x" * 1000) for n in range(3))
    )
    runtime.ensure(spec)
    first = directory_of(root)
    assignment, report = first.assignment(), first.report()
    assert assignment is not None
    assert report is not None
    for number in range(999):
        other = root / f"copy-{number}"
        other.mkdir()
        copy = JailDirectory(other)
        copy.claim()
        for name in ("spec.json", "keeper.json"):
            (other / name).write_bytes((first.path / name).read_bytes())
        for file in spec.files:
            (copy.data / file.path).write_bytes(file.content)
            (copy.data / file.path).chmod(file.mode)
    processes.scans = 0
    began = time.process_time()
    seen = runtime.look()
    assert time.process_time() - began < 1.0
    assert processes.scans == 1
    assert len(seen) == 1000
    assert {facts.files_digest for facts in seen.values()} == {spec.files_digest()}


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["ensure", "stop", "remove", "kill program", "kill keeper", "both"]),
        st.sampled_from(["n1", "n2"]),
        st.sampled_from(["red", "blue"]),
    ),
    max_size=6,
)


@pytest.mark.timeout(240)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(OPERATIONS)
def test_after_any_history_ensure_brings_what_is_wanted(
    history: list[tuple[str, str, str]],
) -> None:
    with jailyard.yard() as root:
        runtime = jailyard.runtime_at(root)
        for verb, name, colour in history:
            spec = replace(LONELY_SPEC, name=name, environment={"COLOUR": colour})
            act(root, runtime, verb, spec)
        for name in ("n1", "n2"):
            wanted = replace(LONELY_SPEC, name=name)
            runtime.ensure(wanted)
            facts = jailyard.facts_of(root, name)
            assert facts.state in {JailState.RUNNING, JailState.BACKING_OFF}
            assert facts.program_digest == wanted.program_digest()
            assert "TWO COPIES" not in runtime.logs(name, 1000)
            runtime.remove(name)
        check_nothing_left(root)


def act(root: Path, runtime: ProcessRuntime, verb: str, spec: JailSpec) -> None:
    if verb == "ensure":
        runtime.ensure(spec)
    elif verb == "stop":
        runtime.stop(spec.name)
    elif verb == "remove":
        runtime.remove(spec.name)
    else:
        report = JailDirectory(root / spec.name).report()
        kill_of(report.program if report and "keeper" not in verb else None)
        kill_of(report.keeper if report and "program" not in verb else None)


def kill_of(mark: ProcessMark | None) -> None:
    if mark is not None and is_running(mark.pid):
        os.kill(mark.pid, signal.SIGKILL)
        ends(mark.pid)
