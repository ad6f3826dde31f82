"""Bytes of a console as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.vm.screen import Screen


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\r\nb", "a\n\nb"),
        (b"\x1b[2J\x1b[01;01Hok", "\n\nok"),
        (b"\x1b[=3hok", "ok"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b(Bplain", "plain"),
        (b"bell\x07\x00", "bell"),
        (b"a\tb", "a b"),
        (b"|\b/", "|\b/"),
        ("grün".encode(), "grün"),
        (b"\xff!", "\ufffd!"),
        (b"\x1b[\x1b[mok", "ok"),
    ],
)
def test_escape_sequences_vanish_and_lines_end(data: bytes, text: str) -> None:
    assert Screen().feed(data) == text


def test_a_sequence_without_end_does_not_swallow_the_console() -> None:
    assert Screen().feed(b"\x1b[" + b"1" * 200 + b"m").count("1") > 100


@given(st.binary(max_size=200), st.integers(0, 200))
def test_chunks_make_no_difference(data: bytes, cut: int) -> None:
    screen = Screen()
    assert screen.feed(data[:cut]) + screen.feed(data[cut:]) == Screen().feed(data)
