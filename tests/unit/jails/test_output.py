"""The log of a program stays within its bounds, whatever the program writes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from jails.keeper.output import BoundedLog, last_lines, log_size, older_log

LIMIT = 64


@given(st.lists(st.binary(max_size=200), max_size=30))
def test_log_and_older_log_stay_within_the_limit_and_hold_the_end(chunks: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = BoundedLog(path, LIMIT)
        for chunk in chunks:
            log.write(chunk)
        kept = [file.read_bytes() for file in (older_log(path), path) if file.exists()]
        assert all(len(content) <= LIMIT for content in kept)
        assert len(list(Path(folder).iterdir())) <= 2
        newest = (chunks or [b""])[-1][-LIMIT:]
        assert b"".join(kept).endswith(newest)


def test_last_lines_span_both_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = BoundedLog(path, 20)
    for number in range(5):
        log.write(f"line {number}\n".encode())
    assert last_lines(path, 3) == ["line 2", "line 3", "line 4"]
    assert last_lines(path, 0) == []


def test_last_lines_can_begin_after_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert log_size(path) == 0
    log = BoundedLog(path, 1000)
    log.write(b"old\n")
    seen = log_size(path)
    assert last_lines(path, 5, since=seen) == []
    log.write(b"new\n")
    assert last_lines(path, 5, since=seen) == ["new"]


def test_a_log_that_cannot_be_written_is_lost_and_nothing_else(tmp_path: Path) -> None:
    BoundedLog(tmp_path / "missing" / "log", LIMIT).write(b"x")
    (tmp_path / "log").symlink_to(tmp_path / "stranger")
    BoundedLog(tmp_path / "log", LIMIT).write(b"x")
    assert not (tmp_path / "stranger").exists()
