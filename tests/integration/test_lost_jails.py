"""A jail whose directory is deleted while it runs: it is seen, ended, and never runs twice."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import jailyard
from jails.process import ProcessRuntime, ProcessSettings
from jails.runtime import JailError
from jails.spec import JailSpec, JailState
from jailyard import (
    FAMILY,
    LONELY_SPEC,
    check_nothing_left,
    check_starts,
    child_of,
    ends,
    is_running,
    keeper_of,
)
from maculaos.host.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# In these tests a keeper does not notice by itself, unless they say so.
PATIENT = replace(jailyard.SETTINGS, watch_s=1000.0)
# A program that leaves the group and session that it was started in.
FUGITIVE = jailyard.python(
    "import os, signal\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    with open('child.new', 'w') as f: f.write(str(os.getpid()))\n"
    "    os.rename('child.new', 'child')\n"
    "signal.pause()\n"
)


@pytest.fixture
def root() -> Iterator[Path]:
    with jailyard.yard() as root:
        yield root


@pytest.fixture
def runtime(root: Path) -> ProcessRuntime:
    return runtime_at(root)


def runtime_at(root: Path, settings: ProcessSettings = PATIENT) -> ProcessRuntime:
    return ProcessRuntime(root, SystemClock(), settings)


def lose(root: Path) -> tuple[int, int]:
    """Delete the running jail n1; the ids of its keeper and its program."""
    keeper, program = keeper_of(root), jailyard.pid_of(root)
    shutil.rmtree(root / "n1")
    return keeper, program


def lose_keeper_too(root: Path) -> tuple[int, int]:
    keeper, program = lose(root)
    os.kill(keeper, signal.SIGKILL)
    ends(keeper)
    return keeper, program


def lose_the_whole_root(root: Path) -> tuple[int, int]:
    keeper, program = lose(root)
    root.rmdir()
    return keeper, program


def move_away(root: Path) -> tuple[int, int]:
    keeper, program = keeper_of(root), jailyard.pid_of(root)
    (root / "n1").rename(root.parent / "moved")
    return keeper, program


EVERY_LOSS = pytest.mark.parametrize(
    "loss", [lose, lose_keeper_too, lose_the_whole_root, move_away]
)


@EVERY_LOSS
def test_a_lost_jail_is_seen(
    root: Path, runtime: ProcessRuntime, loss: Callable[[Path], tuple[int, int]]
) -> None:
    runtime.ensure(LONELY_SPEC)
    _, program = loss(root)
    facts = runtime_at(root).look()["n1"]
    assert (facts.state, facts.pid) == (JailState.ORPHANED, program)
    assert facts.program_digest != LONELY_SPEC.program_digest()


@EVERY_LOSS
def test_ensure_ends_a_lost_jail_before_it_starts_anew(
    root: Path, runtime: ProcessRuntime, loss: Callable[[Path], tuple[int, int]]
) -> None:
    runtime.ensure(LONELY_SPEC)
    old = loss(root)
    runtime_at(root).ensure(LONELY_SPEC)
    assert not any(map(is_running, old))
    facts = jailyard.facts_of(root)
    assert facts.state is JailState.RUNNING
    assert facts.program_digest == LONELY_SPEC.program_digest()
    check_starts(root, 1)
    assert set(jailyard.processes_of(root)) == {keeper_of(root), facts.pid}


@EVERY_LOSS
def test_stop_ends_a_lost_jail(
    root: Path, runtime: ProcessRuntime, loss: Callable[[Path], tuple[int, int]]
) -> None:
    runtime.ensure(LONELY_SPEC)
    old = loss(root)
    runtime_at(root).stop("n1")
    assert not any(map(is_running, old))
    assert jailyard.facts_of(root).state is JailState.STOPPED
    assert jailyard.processes_of(root) == []


@EVERY_LOSS
def test_remove_ends_a_lost_jail_and_leaves_nothing(
    root: Path, runtime: ProcessRuntime, loss: Callable[[Path], tuple[int, int]]
) -> None:
    runtime.ensure(LONELY_SPEC)
    old = loss(root)
    runtime_at(root).remove("n1")
    assert not any(map(is_running, old))
    assert dict(runtime.look()) == {}
    check_nothing_left(root)


def test_a_directory_made_anew_hides_nothing(root: Path, runtime: ProcessRuntime) -> None:
    """As after a crash of whoever was about to ensure the jail again."""
    runtime.ensure(LONELY_SPEC)
    _, program = lose_keeper_too(root)
    (root / "n1").mkdir(mode=0o700)
    jailyard.directory_of(root).claim()
    facts = jailyard.facts_of(root)
    assert (facts.state, facts.pid) == (JailState.ORPHANED, program)
    runtime.ensure(LONELY_SPEC)
    assert not is_running(program)


def test_a_lost_jail_is_ended_though_something_else_lies_in_its_place(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(LONELY_SPEC)
    old = lose(root)
    (root / "n1").mkdir()
    (root / "n1" / "mine").touch()
    assert runtime.look()["n1"].state is JailState.ORPHANED
    with pytest.raises(JailError, match="in the way"):
        runtime.ensure(LONELY_SPEC)
    runtime.remove("n1")
    assert not any(map(is_running, old))
    assert [file.name for file in (root / "n1").iterdir()] == ["mine"]


def test_files_of_a_lost_jail_are_not_updated(root: Path, runtime: ProcessRuntime) -> None:
    runtime.ensure(LONELY_SPEC)
    lose(root)
    with pytest.raises(JailError, match="there is no such jail; start it first"):
        runtime.update_files(LONELY_SPEC)


def test_neighbours_of_a_lost_jail_go_on(root: Path, runtime: ProcessRuntime) -> None:
    """Under the same root and under another one, with the same name."""
    runtime.ensure(LONELY_SPEC)
    runtime.ensure(replace(LONELY_SPEC, name="n2"))
    with jailyard.yard() as other:
        runtime_at(other).ensure(LONELY_SPEC)
        before = jailyard.facts_of(root, "n2"), jailyard.facts_of(other)
        lose(root)
        runtime.remove("n1")
        assert list(runtime.look()) == ["n2"]
        assert (jailyard.facts_of(root, "n2"), jailyard.facts_of(other)) == before


def test_a_lost_jail_is_found_through_another_name_of_its_root(
    root: Path, runtime: ProcessRuntime
) -> None:
    root.mkdir()
    link = root.parent / "link"
    link.symlink_to(root)
    runtime_at(link).ensure(LONELY_SPEC)
    _, program = lose(root)
    assert runtime.look()["n1"].pid == program
    runtime.remove("n1")
    check_nothing_left(root)


def test_a_stuck_keeper_of_a_lost_jail_is_killed_and_its_program_too(
    root: Path,
) -> None:
    impatient = runtime_at(root, replace(PATIENT, lost_deadline_s=0.1, keeper_patience_s=0.1))
    impatient.ensure(LONELY_SPEC)
    keeper, program = lose(root)
    os.kill(keeper, signal.SIGSTOP)
    impatient.stop("n1")
    assert not is_running(keeper)
    assert not is_running(program)


def test_a_child_that_left_its_session_is_ended_with_its_jail(
    root: Path, runtime: ProcessRuntime
) -> None:
    runtime.ensure(replace(LONELY_SPEC, command=FUGITIVE))
    child = child_of(root)
    runtime.stop("n1")
    assert not is_running(child)


def test_what_a_program_changes_in_its_environment_hides_no_jail(
    root: Path, runtime: ProcessRuntime
) -> None:
    spec = JailSpec(name="n1", command=jailyard.IDLE, environment={"HOME": "/", "PATH": "/bin"})
    runtime.ensure(spec)
    _, program = lose_keeper_too(root)
    assert runtime.look()["n1"].pid == program


@pytest.mark.parametrize("loss", [lose, lose_the_whole_root, move_away])
def test_a_keeper_notices_that_it_lost_its_jail(
    root: Path, loss: Callable[[Path], tuple[int, int]]
) -> None:
    runtime = runtime_at(root, replace(PATIENT, watch_s=0.02))
    runtime.ensure(replace(LONELY_SPEC, command=FAMILY, stop_deadline_s=0.1))
    child = child_of(root)
    for each in (*loss(root), child):
        ends(each)
    assert not (root / "n1").exists()


def test_a_keeper_that_lost_its_jail_writes_nothing_into_the_next_one(root: Path) -> None:
    runtime = runtime_at(root, replace(PATIENT, watch_s=0.02))
    runtime.ensure(LONELY_SPEC)
    keeper = keeper_of(root)
    shutil.move(root / "n1", root.parent / "moved")
    (root / "n1").mkdir(mode=0o700)
    jailyard.directory_of(root).claim()
    jailyard.directory_of(root).lock.touch()
    ends(keeper)
    assert {entry.name for entry in (root / "n1").iterdir()} == {".macula-jail", "data", "lock"}


def test_a_keeper_without_its_lock_ends(root: Path) -> None:
    runtime = runtime_at(root, replace(PATIENT, watch_s=0.02))
    runtime.ensure(LONELY_SPEC)
    keeper, program = keeper_of(root), jailyard.pid_of(root)
    (root / "n1" / "lock").unlink()
    ends(keeper)
    assert not is_running(program)
