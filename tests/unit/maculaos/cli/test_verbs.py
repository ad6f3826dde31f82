"""The command line in this process: what words become, and what errors become."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import sys
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from maculaos.cli import app, calls, complaint, events, exit_code, main
from maculaos.cli.mesh import parse_value
from maculaos.client import CallFailed, Event, NodeUnreachable, Value
from maculaos.client.calls import CHOICES
from maculaos.client.publisher import PRIORITIES
from maculaos.client.subscription import POLICIES
from maculaos.documents import InvalidDocument, Problem
from maculaos.errors import MaculaError, UsageError
from maculaos.wire.messages import RpcCall
from maculaos.wire.registry import Answering, Choice
from stagenode import StageNode, on_stage, turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from maculaos.client import Mesh


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


@pytest.mark.parametrize(
    ("refusal", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/a\x1b"), "/a?: Permission denied"),
    ],
)
def test_what_the_system_refuses_is_one_line_without_traceback(
    refusal: OSError,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> NoReturn:
        raise refusal

    monkeypatch.setattr("maculaos.cli.app", refuse)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"macula: {line}\n"


def test_a_deadline_that_nobody_expected_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def stall() -> NoReturn:
        raise TimeoutError

    monkeypatch.setattr("maculaos.cli.app", stall)
    with pytest.raises(TimeoutError):
        main()


@pytest.mark.parametrize("how", ["--bytes", "--lines"])
def test_a_closed_standard_input_is_a_usage_error(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["macula", "publish", "t", how, "--socket", "/nowhere"])
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        app(standalone_mode=False)


def test_help_lists_the_exit_codes() -> None:
    said = " ".join(CliRunner().invoke(app, ["--help"]).output.split())
    for words in ("0 done", "1 failed", "3 node not reachable", "4 call failed", "130 interrupted"):
        assert words in said


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "t"),
        ("publish", "t", "1", "--bytes"),
        ("publish", "t", "--lines", "--bytes"),
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
    assert parse_value(json.dumps(value)) == value


@pytest.mark.parametrize("word", ["warm", "NaN", "{", "'a'", "[" * 100_000, "01"])
def test_a_word_that_is_not_json_is_text(word: str) -> None:
    assert parse_value(word) == word


def answered(*program: str, value: Value = None, limit_s: float = 20) -> Value:
    """What a caller gets from ``program``."""
    return asyncio.run(calls._run(program, "m", value, limit_s))


def test_a_program_gets_json_and_must_give_json() -> None:
    assert answered("cat", value={"a": [1]}) == {"a": [1]}
    assert answered("cat", value=b"[2]") == [2]
    assert answered("true") is None
    with pytest.raises(UsageError, match="did not print JSON"):
        answered("echo", "no json")


def test_a_program_learns_what_was_called() -> None:
    assert answered("sh", "-c", 'echo "\\"$MACULA_METHOD\\""') == "m"


def test_what_a_failed_program_said_last_is_the_complaint() -> None:
    with pytest.raises(MaculaError, match=r"^sh: exit status 3: no such sensor$"):
        answered("sh", "-c", "echo first >&2; echo no such sensor >&2; exit 3")
    with pytest.raises(MaculaError, match=r"^sleep: cut off: stopped after 0.1 s$"):
        answered("sleep", "600", limit_s=0.1)
    with pytest.raises(MaculaError, match=r"^/none: exit status 127: /none: No such file"):
        answered("/none")


def test_an_event_is_one_line_whatever_it_holds() -> None:
    line = events._event_line(Event("t", "ab", {"x": b"\n", "y": "\n"}), as_json=True)
    assert json.loads(line)["payload"] == {"x": {"base64": "Cg=="}, "y": "\n"}
    assert "\n" not in line
    assert events._event_line(Event("t", "ab", math.pi), as_json=False) == f"t {math.pi}"


@pytest.mark.parametrize(
    ("words", "answering"),
    [([], Answering.ONE), (["--cast"], Answering.NONE), (["--stream"], Answering.STREAM)],
)
def test_every_way_to_call_says_how_to_choose_and_how_long_it_waits(
    monkeypatch: pytest.MonkeyPatch, words: list[str], answering: Answering
) -> None:
    heard: list[RpcCall] = []

    def ask(_: object, question: Callable[[Mesh], Awaitable[None]]) -> None:
        async def play(node: StageNode, mesh: Mesh) -> None:
            node.leaves_open = (RpcCall,)
            asking = asyncio.ensure_future(question(mesh))
            await turn()
            heard.extend(node.heard(RpcCall))
            asking.cancel()
            await asyncio.wait({asking})

        on_stage(play)

    monkeypatch.setattr(calls, "ask", ask)
    how = ["--choice", "random", "--timeout", "2.5", *words]
    done = CliRunner().invoke(app, ["call", "add", *how])
    assert done.exception is None
    (call,) = heard
    assert (call.answering, call.choice, call.deadline_ms) == (answering, Choice.RANDOM, 2500)


def test_words_of_the_command_line_are_those_of_the_client() -> None:
    assert {*events.Policy} == {*POLICIES}
    assert {*events.Priority} == {*PRIORITIES}
    assert {*calls.Choice} == {*CHOICES}
