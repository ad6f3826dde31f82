"""Lines of the log."""

from __future__ import annotations

import io
import logging

from maculaos.host.clock import FakeClock
from maculaos.host.logbook import Level, LibraryHandler, Logbook


def test_a_line_is_time_level_event_and_facts() -> None:
    stream = io.StringIO()
    Logbook(stream, FakeClock(0.5)).note("link_up", peer="n2", port=4701)
    assert stream.getvalue() == "1970-01-01T00:00:00.500Z info link_up peer=n2 port=4701\n"


def test_a_value_cannot_forge_a_line_or_flood_the_log() -> None:
    stream = io.StringIO()
    Logbook(stream, FakeClock()).note("link_down", reason="x\n1970 error forged", more="y" * 9999)
    assert stream.getvalue().count("\n") == 1
    assert r'reason="x\n1970 error forged"' in stream.getvalue()
    assert len(stream.getvalue()) < 500


def test_what_lies_below_the_level_is_left_out() -> None:
    stream = io.StringIO()
    Logbook(stream, FakeClock(), Level.WARNING).note("ready")
    assert not stream.getvalue()


def test_a_log_that_nobody_reads_stops_nobody() -> None:
    stream = io.StringIO()
    stream.close()
    Logbook(stream, FakeClock()).note("ready")


def test_what_a_library_says_is_a_detail_unless_it_is_an_error() -> None:
    stream = io.StringIO()
    handler = LibraryHandler(Logbook(stream, FakeClock(0.5)))
    for level in (logging.WARNING, logging.ERROR):
        handler.handle(logging.LogRecord("quic", level, "f", 1, "closed by %s", ("n2",), None))
    expected = '1970-01-01T00:00:00.500Z error library name=quic said="closed by n2"\n'
    assert stream.getvalue() == expected
