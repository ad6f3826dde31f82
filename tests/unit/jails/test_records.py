"""Records survive the way to disk and back, and damage never trips the reader."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.keeper.records import Assignment, JailDirectory, Report
from jails.spec import JailState, ProgramHooks, Restart, RestartPolicy
from maculaos.host.processes import ProcessMark

TEXT = st.text(max_size=20)
TIMES = st.floats(min_value=0, max_value=1e9)
MARKS = st.none() | st.builds(ProcessMark, st.integers(1, 1 << 22), TEXT)
ASSIGNMENTS = st.builds(
    Assignment,
    launch=st.integers(0, 1 << 40),
    program_digest=TEXT,
    command=st.lists(TEXT, min_size=1, max_size=4).map(tuple),
    environment=st.dictionaries(TEXT, TEXT, max_size=3),
    restart=st.builds(Restart, policy=st.sampled_from(RestartPolicy), base_s=TIMES, max_s=TIMES),
    stop_deadline_s=TIMES,
    files=st.lists(TEXT, max_size=3).map(tuple),
    log_bytes=st.integers(1, 1 << 30),
    settle_s=TIMES,
    watch_s=TIMES,
    hooks=st.builds(
        ProgramHooks,
        start=st.lists(TEXT, max_size=2).map(tuple),
        stop=st.lists(TEXT, max_size=2).map(tuple),
        timeout_s=TIMES,
    ),
)
REPORTS = st.builds(
    Report,
    keeper=MARKS,
    program=MARKS,
    state=st.sampled_from(JailState),
    program_digest=TEXT,
    place=TEXT,
    started_at=st.none() | TIMES,
    restarts=st.integers(0, 1 << 30),
    last_exit=TEXT,
)


@pytest.fixture
def directory(tmp_path: Path) -> JailDirectory:
    (tmp_path / "n1").mkdir()
    return JailDirectory(tmp_path / "n1")


@given(assignment=ASSIGNMENTS, report=REPORTS)
def test_records_read_back_as_they_were_written(assignment: Assignment, report: Report) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = JailDirectory(Path(folder))
        directory.write_assignment(assignment)
        directory.write_report(report)
        assert directory.assignment() == assignment
        assert directory.report() == report


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}", b"null", b"\xff\xfe", b'{"launch": []}', b"[" * 5000]
)
def test_damaged_records_read_as_nothing(directory: JailDirectory, damage: bytes) -> None:
    (directory.path / "spec.json").write_bytes(damage)
    (directory.path / "keeper.json").write_bytes(damage)
    assert directory.assignment() is None
    assert directory.report() is None


def test_records_are_private(directory: JailDirectory) -> None:
    directory.write_report(
        Report(keeper=None, program=None, state=JailState.STOPPED, program_digest="")
    )
    assert (directory.path / "keeper.json").stat().st_mode & 0o777 == 0o600


def test_only_marked_directories_are_ours(directory: JailDirectory) -> None:
    assert not directory.is_ours()
    directory.claim()
    assert directory.is_ours()
    link = directory.path.with_name("n2")
    link.symlink_to(directory.path)
    assert not JailDirectory(link).is_ours()
