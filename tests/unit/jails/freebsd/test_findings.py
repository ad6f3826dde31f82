"""The state of a jail: what it says of itself, as far as its processes bear it out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jails.freebsd import ps
from jails.freebsd.findings import facts_of
from jails.freebsd.place import Place, Record
from jails.spec import JailState
from maculaos.host.commands import ScriptedRunner

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "PID PPID JID USER COMMAND\n"
DAEMON = "778 1 1 root daemon: n1[779] (daemon)\n"
LOOP = "779 778 1 root /bin/sh /.launch/start\n"
PROGRAM = "780 779 1 www node\n"
ORPHAN = "780 1 1 www node\n"
RECORD = Record(
    program_digest="d", files=(), stop_deadline_s=1.0, started_at=5.0, last_exit="killed by SIGTERM"
)


def says(state: str, program: str = "", ended: str = "3") -> str:
    return (
        f"state={state}\nprogram={program}\nstarted_at=7\nrestarts=4\n"
        f"short_runs=1\nexit={ended}\nnext_start=0\n"
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "n1")
    place.keep.mkdir(parents=True)
    place.write_record(RECORD)
    return place


def runner_of(listed: str) -> ScriptedRunner:
    return ScriptedRunner({ps.list_argv("macula-n1"): HEAD + listed})


@pytest.mark.parametrize(
    ("said", "listed", "state", "pid"),
    [
        (says("running", "780"), DAEMON + LOOP + PROGRAM, JailState.RUNNING, 780),
        (says("running", "780"), DAEMON + ORPHAN, JailState.RUNNING, 780),
        (says("running", "780"), LOOP.replace("778", "1") + PROGRAM, JailState.ORPHANED, 780),
        (says("running", "780"), DAEMON + LOOP, JailState.BACKING_OFF, None),
        (says("running", "780"), "", JailState.STOPPED, None),
        (says("backing-off"), DAEMON + LOOP, JailState.BACKING_OFF, None),
        (says("backing-off"), "", JailState.STOPPED, None),
        (says("failed"), "", JailState.FAILED, None),
        (says("failed"), DAEMON + LOOP, JailState.FAILED, None),
        (says("stopped"), "", JailState.STOPPED, None),
        ("", DAEMON + LOOP, JailState.BACKING_OFF, None),
        ("", ORPHAN, JailState.ORPHANED, 780),
        ("", "", JailState.STOPPED, None),
        # Lies: a process of somebody else, and daemon(8) itself.
        (says("running", "12345"), DAEMON + LOOP + PROGRAM, JailState.BACKING_OFF, None),
        (says("running", "778"), DAEMON + LOOP + PROGRAM, JailState.BACKING_OFF, None),
    ],
)
def test_the_processes_bear_out_what_the_status_says(
    place: Place, said: str, listed: str, state: JailState, pid: int | None
) -> None:
    place.status_file.write_text(said)
    facts = facts_of(place, runner_of(listed), is_living=True)
    assert (facts.state, facts.pid) == (state, pid)
    assert (facts.started_at is None) == (pid is None)


def test_restarts_and_ends_are_those_of_the_status(place: Place) -> None:
    place.status_file.write_text(says("running", "780"))
    facts = facts_of(place, runner_of(DAEMON + LOOP + PROGRAM), is_living=True)
    assert (facts.restarts, facts.last_exit) == (4, "exited with status 3")
    assert facts.started_at == 7.0


@pytest.mark.parametrize(
    ("said", "last_exit"),
    [
        ("", "killed by SIGTERM"),
        (says("stopped", ended="0"), "exited with status 0"),
        (says("failed", ended="0"), "exited with status 0"),
        # The loop did not live to tell how this run ended.
        (says("running", "780"), "killed by SIGTERM"),
    ],
)
def test_of_a_jail_that_is_gone_the_loop_knew_best_if_it_saw_the_end(
    place: Place, said: str, last_exit: str
) -> None:
    place.status_file.write_text(said)
    facts = facts_of(place, ScriptedRunner({}), is_living=False)
    assert (facts.state, facts.last_exit) == (JailState.STOPPED, last_exit)
