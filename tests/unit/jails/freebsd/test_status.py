"""What a jail says of itself is read in its exact form, or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jails.freebsd.place import Place
from jails.freebsd.status import MOST_BYTES, Status, parse_status
from jails.spec import JailState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SAID = """\
state=running
program=779
started_at=1800000000
restarts=3
short_runs=2
exit=137
next_start=0
"""
READ = Status(
    state=JailState.RUNNING,
    program=779,
    started_at=1_800_000_000.0,
    restarts=3,
    last_exit="killed by SIGKILL",
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "n1")
    for folder in (place.keep, place.logs):
        folder.mkdir(parents=True)
    return place


def test_a_status_is_read() -> None:
    assert parse_status(SAID.encode()) == READ


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", ""),
        ("0", "exited with status 0"),
        ("128", "exited with status 128"),
        ("143", "killed by SIGTERM"),
        ("255", "exited with status 255"),
        ("unseen", "ended unseen, while its supervisor was away"),
    ],
)
def test_exits_are_told_in_words(said: str, words: str) -> None:
    status = parse_status(SAID.replace("exit=137", f"exit={said}").encode())
    assert status is not None
    assert status.last_exit == words


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ("state=running", "state=orphaned"),
        ("program=779", "program=0"),
        ("program=779", "program=-1"),
        ("program=779", "program=1234567890"),
        ("restarts=3", "restarts=1e9"),
        ("restarts=3", "restarts=\u0663"),
        ("started_at=1800000000", "started_at=" + "9" * 400),
        ("next_start=0\n", "next_start=0"),
        ("next_start=0\n", "next_start=0\nmore=1\n"),
        ("exit=137\n", ""),
    ],
)
def test_what_no_loop_writes_is_nothing(what: str, instead: str) -> None:
    assert what in SAID
    assert parse_status(SAID.replace(what, instead).encode()) is None


@given(st.binary(max_size=MOST_BYTES))
def test_anything_else_is_nothing(content: bytes) -> None:
    assert parse_status(content) is None


def test_the_host_reads_it_from_its_place(place: Place) -> None:
    place.status_file.write_text(SAID)
    assert place.status() == READ


def _link(path: Path) -> None:
    other = path.with_name("other")
    other.write_text(SAID)
    path.symlink_to(other)


@pytest.mark.parametrize(
    "put",
    [
        _link,
        os.mkfifo,
        os.mkdir,
        lambda path: path.write_text(SAID * 50),
        # Its end alone would be a status.
        lambda path: path.write_text("x" * MOST_BYTES + "\n" + SAID),
    ],
    ids=["link", "pipe", "folder", "repeated", "long"],
)
def test_whatever_lies_in_its_place_the_host_is_not_led_astray(
    place: Place, put: Callable[[Path], object]
) -> None:
    assert place.status() is None
    put(place.status_file)
    assert place.status() is None


@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_whatever_lies_in_the_place_of_a_log_it_has_no_lines(
    place: Place, put: Callable[[Path], object]
) -> None:
    put(place.log)
    place.older_log.write_text("one\ntwo\n")
    assert place.last_lines(1) == ["two"]


def test_a_log_that_was_moved_on_is_read_on(place: Place) -> None:
    place.older_log.write_text("one\ntw")
    place.log.write_text("o\nthree\n")
    assert place.last_lines(2) == ["two", "three"]
    assert place.last_lines(0) == []


def test_a_huge_log_is_read_from_its_end(place: Place) -> None:
    with place.log.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    assert place.last_lines(1) == ["last"]
