"""Laws of the journal: one event is one line, whatever its values hold; memory is bounded."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from maculaos.host.clock import FakeClock
from reconciler.journal import REMEMBERED, BoundedFile, Event, Journal

if TYPE_CHECKING:
    from pathlib import Path


@given(st.text(), st.text(), st.text())
def test_one_event_is_one_printable_line(event: str, sentence: str, value: str) -> None:
    lines = io.StringIO()
    journal = Journal(lines, FakeClock())
    journal.note(event, sentence, key=value)
    said = lines.getvalue()
    assert said.endswith("\n")
    assert said[:-1].isprintable()
    assert all(event.text.isprintable() for event in journal.last)


def test_line_has_time_level_event_and_facts_in_order() -> None:
    lines = io.StringIO()
    Journal(lines, FakeClock(0.0)).note("start", jail="node-n1", why="is not there yet")
    said = lines.getvalue()
    assert said == '1970-01-01T00:00:00.000Z info start jail=node-n1 why="is not there yet"\n'


def test_last_sentences_are_remembered() -> None:
    journal = Journal(io.StringIO(), FakeClock(7.0))
    for number in range(100):
        journal.note("fetched", f"fetched {number}", tip=number)
        journal.note("detail", tip=number)
    assert len(journal.last) == REMEMBERED
    assert journal.last[-1] == Event(7.0, "fetched 99")


def test_broken_stream_is_no_error() -> None:
    lines = io.StringIO()
    lines.close()
    Journal(lines, FakeClock()).note("start")


def test_log_file_is_put_aside_when_full(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with closing(BoundedFile(path, size=1000)) as file:
        for number in range(200):
            file.write(f"line {number:03}\n")
            file.flush()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(item.stat().st_size <= 1000 for item in tmp_path.iterdir())
    assert path.read_text().endswith("line 199\n")
