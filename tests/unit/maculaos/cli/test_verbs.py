"""The command line in this process: what words become, and what errors become."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from maculaos.cli import app, complaint, exit_code, main, mesh
from maculaos.client import CallFailed, Event, NodeUnreachable
from maculaos.documents import InvalidDocument, Problem
from maculaos.errors import MaculaError, UsageError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NodeUnreachable("gone"), 3),
        (CallFailed("NO_PROVIDER", ""), 4),
        (InvalidDocument([Problem("f", 1, 1, "x")]), 2),
        (UsageError("no"), 2),
        (MaculaError("bad luck"), 1),
    ],
)
def test_every_blame_has_its_exit_code(error: MaculaError, code: int) -> None:
    assert exit_code(error) == code


def test_people_get_one_line_or_one_for_each_problem() -> None:
    assert complaint(UsageError("no\nway", "try\tagain")) == ["no way; try again"]
    several = InvalidDocument([Problem("f", 2, 1, "b"), Problem("f", 1, 1, "a")])
    assert complaint(several) == ["f:1:1: a", "f:2:1: b"]


def test_an_expected_error_ends_without_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["macula", "members"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "macula: no node is named; give --socket PATH or set MACULA_SOCKET\n"


def test_help_lists_the_exit_codes() -> None:
    said = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for words in ("0 done", "1 failed", "3 node not reachable", "4 call failed", "130 interrupted"):
        assert words in said


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "t"),
        ("publish", "t", "1", "--bytes"),
        ("register", "m"),
        ("register", "m", "--echo", "--reply", "1"),
        ("register", "m", "--exec"),
        ("register", "m", "--echo", "program"),
    ],
)
def test_words_that_contradict_each_other_are_a_usage_error(words: tuple[str, ...]) -> None:
    assert isinstance(CliRunner().invoke(app, words).exception, UsageError)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_a_word_that_is_json_is_that_value(value: object) -> None:
    assert mesh._parse(json.dumps(value)) == value


@pytest.mark.parametrize("word", ["warm", "NaN", "{", "'a'", "[" * 100_000, "01"])
def test_a_word_that_is_not_json_is_text(word: str) -> None:
    assert mesh._parse(word) == word


def test_a_program_gets_json_and_must_give_json() -> None:
    assert mesh._run_program(("cat",), {"a": [1]}) == {"a": [1]}
    with pytest.raises(UsageError, match="did not print JSON"):
        mesh._run_program(("echo", "no json"), None)


def test_an_event_is_one_line_whatever_it_holds() -> None:
    line = mesh._event_line(Event("t", "ab", {"x": b"\n", "y": "\n"}), as_json=True)
    assert json.loads(line)["payload"] == {"x": {"base64": "Cg=="}, "y": "\n"}
    assert "\n" not in line
    assert mesh._event_line(Event("t", "ab", math.pi), as_json=False) == f"t {math.pi}"
