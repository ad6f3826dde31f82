"""Records count as far as those they name still live; a census tells what no record does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jails.keeper.census import Presence
from jails.keeper.findings import Findings
from jails.keeper.records import Assignment, JailDirectory, Report
from jails.spec import JailState, Restart
from maculaos.host.processes import FakeProcesses, ProcessMark

if TYPE_CHECKING:
    from pathlib import Path

    from jails.spec import JailFacts

ASSIGNMENT = Assignment(
    launch=2,
    program_digest="wanted",
    command=("sleep",),
    environment={},
    restart=Restart(),
    stop_deadline_s=1.0,
    files=(),
    log_bytes=1,
    settle_s=0.0,
    watch_s=1.0,
)
KEEPER = ProcessMark(10, "a")
PROGRAM = ProcessMark(11, "b")
STOPPED = Report(keeper=None, program=None, state=JailState.STOPPED, program_digest="ran")


@pytest.fixture
def directory(tmp_path: Path) -> JailDirectory:
    (tmp_path / "n1").mkdir()
    directory = JailDirectory(tmp_path / "n1")
    directory.claim()
    directory.write_assignment(ASSIGNMENT)
    return directory


@pytest.fixture
def processes() -> FakeProcesses:
    """Keeper and program run."""
    processes = FakeProcesses()
    for mark in (KEEPER, PROGRAM):
        processes.put(mark.pid, mark.born)
    return processes


def running(directory: JailDirectory) -> Report:
    return Report(
        keeper=KEEPER,
        program=PROGRAM,
        state=JailState.RUNNING,
        program_digest="ran",
        place=directory.place(),
        started_at=5.0,
    )


def facts(
    directory: JailDirectory, processes: FakeProcesses, presence: Presence | None = None
) -> JailFacts:
    return Findings(directory, processes).facts(presence)


def test_what_is_on_record_and_lives_counts(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    directory.write_report(running(directory))
    found = facts(directory, processes, Presence({KEEPER: 2}, [PROGRAM]))
    assert (found.state, found.pid, found.started_at) == (JailState.RUNNING, 11, 5.0)
    assert found.program_digest == "ran"


def test_a_program_in_another_place_is_nothing_that_a_spec_wants(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    directory.write_report(replace(running(directory), place="1:1"))
    assert facts(directory, processes).program_digest == ""
    processes.running.pop(PROGRAM.pid)
    # Between two starts it is nowhere yet.
    assert facts(directory, processes).program_digest == "ran"


def test_what_no_record_tells_of_is_lost(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    for presence in (Presence({KEEPER: 1}, [PROGRAM]), Presence({}, [PROGRAM])):
        found = facts(directory, processes, presence)
        assert (found.state, found.pid) == (JailState.ORPHANED, 11)
        assert (found.program_digest, found.started_at) == ("", None)
    found = facts(directory, processes, Presence({KEEPER: 1}))
    assert (found.state, found.pid) == (JailState.ORPHANED, None)


def test_a_keeper_that_was_just_launched_is_not_lost(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    directory.write_report(STOPPED)
    found = facts(directory, processes, Presence({KEEPER: ASSIGNMENT.launch}))
    assert (found.state, found.program_digest) == (JailState.STOPPED, "wanted")


def test_a_keeper_that_has_said_its_last_word_is_not_lost(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    """A stop has raised the number already, and the keeper is about to end."""
    directory.write_report(replace(STOPPED, keeper=KEEPER))
    found = facts(directory, processes, Presence({KEEPER: ASSIGNMENT.launch - 1}))
    assert found.state is JailState.STOPPED


def test_who_ended_after_the_census_is_not_lost(directory: JailDirectory) -> None:
    directory.write_report(STOPPED)
    found = facts(directory, FakeProcesses(), Presence({KEEPER: 1}, [PROGRAM]))
    assert found.state is JailState.STOPPED


def test_what_a_program_left_when_it_was_over_does_not_start_it_again(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    """The policy let it rest; a child that went its own way is no reason to begin anew."""
    gone = ProcessMark(9, "z")
    directory.write_report(replace(STOPPED, keeper=gone, state=JailState.FAILED))
    assert facts(directory, processes, Presence({}, [PROGRAM])).state is JailState.FAILED


def test_without_its_data_no_digest_of_files_fits(
    directory: JailDirectory, processes: FakeProcesses
) -> None:
    assert facts(directory, processes).files_digest != ""
    directory.data.rmdir()
    assert facts(directory, processes).files_digest == ""
