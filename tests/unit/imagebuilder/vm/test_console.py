"""The watcher of a console: what it tells, and that chunks make no difference to it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagebuilder.vm import console as watcher
from imagebuilder.vm.console import (
    FATAL_SIGNS,
    LINE_CHARACTERS_MAX,
    Console,
    Event,
    Fatal,
    Line,
    Matched,
    Sign,
    Silent,
    Text,
    Watch,
    WholeLine,
    Wish,
)

BOOT = (Path(__file__).parent / "boot-serial-uefi.txt").read_bytes()

# Pieces that matter to the watcher, so that random text meets all of its rules.
PIECES = st.sampled_from(
    [
        *(sign.text.encode() for sign in FATAL_SIGNS),
        *(b"login: ", b"# ", b"\r\n", b"\b", b"\x1b[1;1H", b"x", b"db", b">", b"\xc3", b"\xa9"),
    ]
)


def _watched(chunks: list[bytes], wish: Wish | None = None) -> list[Event]:
    console = Console(Watch(), now=0)
    events: list[Event] = []
    if wish is not None:
        assert console.expect(wish, 0) is None
    for chunk in chunks:
        events += console.feed(chunk, 0)
    return events


def _cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(
    st.lists(PIECES, max_size=30).map(b"".join),
    st.lists(st.integers(0, 200), max_size=8),
    st.sampled_from([None, Text("login: "), WholeLine(re.compile("x(.*)"))]),
)
def test_chunks_make_no_difference(data: bytes, cuts: list[int], wish: Wish | None) -> None:
    assert _watched(_cut(data, cuts), wish) == _watched([data], wish)


@settings(max_examples=15)
@given(st.lists(st.integers(0, len(BOOT)), max_size=20))
def test_recorded_boot_tells_the_same_however_it_comes(cuts: list[int]) -> None:
    wish = WholeLine(re.compile(r"^Trying to mount root from (\S+)"))
    events = _watched(_cut(BOOT, cuts), wish)
    assert [event for event in events if not isinstance(event, Line)] == [
        Matched("Trying to mount root from ufs:/dev/gpt/slotB [ro]...", ("ufs:/dev/gpt/slotB",))
    ]


def test_recorded_boot_is_read_as_lines() -> None:
    lines = [event.text for event in _watched([BOOT]) if isinstance(event, Line)]
    assert "FreeBSD 13.1-RELEASE-p7 LAB amd64" in lines
    assert any(line.endswith("local.lua: currdev=disk0p4: slot=B") for line in lines)
    assert any(line.startswith("256 SHA256:IA6+") and "ECDSA" in line for line in lines)
    assert not [line for line in lines if "\x1b" in line or "[2J" in line]


def test_each_prefix_of_the_recorded_boot_shows_no_sign_of_the_end() -> None:
    console = Console(Watch(), now=0)
    for now, start in enumerate(range(0, len(BOOT), 64)):
        events = (*console.feed(BOOT[start : start + 64], now * 20), *console.advance(now * 20 + 9))
        assert not [event for event in events if isinstance(event, Fatal | Silent)]


@pytest.mark.parametrize("sign", FATAL_SIGNS, ids=lambda sign: sign.text)
def test_sign_of_the_end_is_told_with_its_last_character(sign: Sign) -> None:
    console = Console(Watch(), now=0)
    assert console.feed(b"\r\n" + sign.text[:-1].encode(), 0) == ()
    assert console.feed(sign.text[-1:].encode(), 0) == (Fatal(sign.meaning, sign.text),)


def test_debugger_prompt_counts_only_at_the_start_of_a_line() -> None:
    assert not [
        event for event in _watched([b"see db> in the manual\n"]) if isinstance(event, Fatal)
    ]
    assert isinstance(_watched([b"db> "])[0], Fatal)


@pytest.mark.parametrize("prompt", [b"# ", b"$ ", b"#", b"root@edge:~ # ", b"root@:/ # ", b"% "])
def test_shell_is_told_when_nothing_follows_its_prompt(prompt: bytes) -> None:
    console = Console(Watch(prompt_quiet_s=3), now=0)
    console.feed(b"\r\n" + prompt, 10)
    assert console.advance(12.9) == ()
    (event,) = console.advance(13)
    assert isinstance(event, Fatal)
    assert console.advance(14) == (), "told once"


@pytest.mark.parametrize("text", [b"login: ", b"# comment", b"ok #1", b"", b"root@edge: "])
def test_what_is_no_prompt_is_not_taken_for_one(text: bytes) -> None:
    console = Console(Watch(), now=0)
    console.feed(b"\r\n" + text, 10)
    assert console.advance(60) == ()


def test_shell_is_welcome_where_somebody_logs_in() -> None:
    console = Console(Watch(is_shell_fatal=False), now=0)
    console.feed(b"# ", 0)
    assert console.advance(60) == ()


def test_silence_is_told_once_until_something_comes() -> None:
    console = Console(Watch(silence_s=5), now=100)
    assert console.advance(104) == ()
    assert console.advance(105) == (Silent(5, ""),)
    assert console.advance(106) == ()
    console.feed(b"working", 107)
    assert console.advance(112) == (Silent(5, "working"),)


def test_silence_before_a_wait_does_not_count() -> None:
    console = Console(Watch(silence_s=5), now=0)
    assert console.expect(Text("x"), 100) is None
    assert console.advance(104) == ()
    assert console.advance(105) == (Silent(5, ""),)


def test_wish_is_met_by_what_came_before_it() -> None:
    console = Console(Watch(), now=0)
    console.feed(b"one\r\ntwo: 2\r\nlogin: ", 0)
    assert console.expect(WholeLine(re.compile(r"two: (\d)")), 0) == Matched("two: 2", ("2",))
    assert console.expect(Text("login: "), 0) == Matched("login: ")


def test_text_is_met_only_once() -> None:
    console = Console(Watch(), now=0)
    console.feed(b"a login: login: ", 0)
    assert console.expect(Text("login: "), 0) is not None
    assert console.expect(Text("login: "), 0) is not None
    assert console.expect(Text("login: "), 0) is None
    assert console.feed(b"\r\nlogin: ", 0) == (Line("a login: login: "), Matched("login: "))


def test_what_lies_before_a_match_is_not_matched_later() -> None:
    console = Console(Watch(), now=0)
    console.feed(b"first\nsecond\n", 0)
    assert console.expect(Text("second"), 0) is not None
    assert console.expect(WholeLine(re.compile("first")), 0) is None


def test_a_whole_line_is_matched_when_it_is_finished() -> None:
    console = Console(Watch(), now=0)
    assert console.expect(WholeLine(re.compile(r"slot=(\S+)")), 0) is None
    assert console.feed(b"slot=A", 0) == ()
    assert console.feed(b"B\n", 0) == (Line("slot=AB"), Matched("slot=AB", ("AB",)))


def test_starting_over_forgets_what_came() -> None:
    console = Console(Watch(), now=0)
    console.feed(b"login: \nlogin: ", 0)
    console.start_over()
    assert console.expect(Text("login: "), 0) is None


def test_forgotten_wish_is_not_met() -> None:
    console = Console(Watch(), now=0)
    console.expect(Text("x"), 0)
    console.forget()
    assert console.feed(b"x", 0) == ()


def test_long_lines_are_cut_and_old_ones_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "UNREAD_CHARACTERS_MAX", 4 * LINE_CHARACTERS_MAX)
    console = Console(Watch(), now=0)
    (line,) = console.feed(b"a" * (LINE_CHARACTERS_MAX + 5), 0)
    assert line == Line("a" * LINE_CHARACTERS_MAX)
    flood = b"b" * (LINE_CHARACTERS_MAX - 1) + b"\n"
    for _ in range(6):
        console.feed(flood, 0)
    assert console.expect(Text("a"), 0) is None
    assert console.expect(Text("b"), 0) is not None


def test_backspace_takes_back_what_was_typed() -> None:
    assert _watched([b"passwrd\b\bord\b\n"]) == [Line("passwor")]


def test_one_text_does_not_meet_two_wishes() -> None:
    console = Console(Watch(), now=0)
    console.feed(b"aa", 0)
    assert console.expect(Text("aa"), 0) is not None
    assert console.expect(Text("aa"), 0) is None
    assert console.feed(b"a", 0) == ()
    assert console.feed(b"a", 0) == (Matched("aa"),)
