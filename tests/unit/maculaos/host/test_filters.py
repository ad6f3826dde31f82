"""Unit: programs as filters."""

from __future__ import annotations

import os
import sys
import tempfile

import pytest

from maculaos.host.filters import NOT_FOUND_STATUS, Bound, SystemFilter

FILTER = SystemFilter({"PATH": os.defpath})
BOUND = Bound(1 << 20, 20)


def test_bytes_go_in_and_come_out() -> None:
    done = FILTER.run(("cat",), b"\x00\xff" * 200_000, BOUND)
    assert done.is_ok
    assert bytes(done.output) == b"\x00\xff" * 200_000


def test_a_file_goes_in_as_it_is() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"from a file")
        file.seek(0)
        assert bytes(FILTER.run(("cat",), file, BOUND).output) == b"from a file"


def test_what_it_says_of_a_failure_is_kept() -> None:
    code = "import sys; sys.stderr.write('no'); sys.exit(3)"
    done = FILTER.run((sys.executable, "-c", code), b"unread" * 100_000, BOUND)
    assert (done.status, done.said, bytes(done.output)) == (3, "no", b"")


def test_too_much_output_is_cut_off_and_nothing_of_it_kept() -> None:
    done = FILTER.run(("cat",), b"x" * 100_000, Bound(1000, 20))
    assert (done.status, bytes(done.output)) == (None, b"")
    assert "more than 1000 bytes" in done.said


@pytest.mark.parametrize(
    "code", ["input(); input()", "import os; os.close(1); os.close(2); input()"]
)
def test_a_program_that_does_not_end_is_stopped(code: str) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as never, os.fdopen(writer, "wb"):
        done = FILTER.run((sys.executable, "-c", code), never, Bound(1000, 0.5))
    assert done.status is None
    assert "stopped after 0.5 s" in done.said


def test_a_program_that_is_not_there_is_said() -> None:
    assert FILTER.run(("no-such-program",), b"", BOUND).status == NOT_FOUND_STATUS


def test_output_is_in_no_representation() -> None:
    assert "hidden" not in repr(FILTER.run(("cat",), b"hidden", BOUND))


def test_there_is_no_terminal_to_ask() -> None:
    code = "open('/dev/tty')"
    assert not FILTER.run((sys.executable, "-c", code), b"", BOUND).is_ok
