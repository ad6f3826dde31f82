"""What a killed keeper leaves: it is seen, ended and replaced, and no stranger is harmed."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.spec import JailState
from jailyard import (
    FAMILY,
    LONELY_SPEC,
    check_alone,
    check_nothing_left,
    check_starts,
    child_of,
    directory_of,
    ends,
    is_running,
    keeper_of,
)
from maculaos.host.processes import ProcessMark

if TYPE_CHECKING:
    from pathlib import Path

    from jails.process import ProcessRuntime


def test_an_orphan_is_seen_and_replaced_by_one_copy(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    check_starts(root, 1)  # an orphan ended before that would leave a start uncounted
    orphan, keeper = jailyard.pid_of(root), keeper_of(root)
    os.kill(keeper, signal.SIGKILL)
    ends(keeper)
    facts = jailyard.facts_of(root)
    assert (facts.state, facts.pid) == (JailState.ORPHANED, orphan)
    runtime.ensure(LONELY_SPEC)
    assert not is_running(orphan)
    assert jailyard.pid_of(root) != orphan
    check_starts(root, 2)
    check_alone(root)


def test_what_an_orphan_left_when_it_died_is_ended_too(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=FAMILY, stop_deadline_s=0.2))
    child = child_of(root)
    program = jailyard.pid_of(root)
    os.kill(keeper_of(root), signal.SIGKILL)
    os.kill(program, signal.SIGKILL)
    ends(program)
    assert is_running(child)
    runtime.stop("n1")
    assert not is_running(child)


@pytest.mark.parametrize("born", ["", "00000000:1", "1234.50"])
def test_a_stale_report_never_harms_a_stranger(
    root: Path, runtime: ProcessRuntime, born: str
) -> None:
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    report = directory_of(root).report()
    assert report is not None
    with subprocess.Popen(jailyard.IDLE, start_new_session=True) as stranger:
        mark = ProcessMark(stranger.pid, born)
        stale = replace(report, keeper=mark, program=mark, state=JailState.RUNNING)
        directory_of(root).write_report(stale)
        assert jailyard.facts_of(root).state is JailState.STOPPED
        runtime.stop("n1")
        runtime.ensure(LONELY_SPEC)
        runtime.remove("n1")
        assert stranger.poll() is None
        stranger.kill()
    check_nothing_left(root)


def test_a_stranger_in_a_group_with_our_number_is_spared(
    root: Path, runtime: ProcessRuntime
) -> None:
    """The first of the group is gone; who is left did not start from this jail."""
    family = "import os, signal\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\n"
    command = jailyard.python(f"{family}signal.pause()")
    runtime.ensure(LONELY_SPEC)
    runtime.stop("n1")
    report = directory_of(root).report()
    assert report is not None
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as stranger:
        assert stranger.stdout is not None
        left = int(stranger.stdout.readline())
        stranger.wait()
        gone = ProcessMark(stranger.pid, report.program_digest)
        directory_of(root).write_report(replace(report, program=gone, state=JailState.RUNNING))
        runtime.remove("n1")
        assert is_running(left)
        os.kill(left, signal.SIGKILL)
