"""Commands end in time or are ended, and say what went wrong; the fake answers no surprise."""

from __future__ import annotations

import sys

import pytest

from maculaos.host.commands import CommandFailed, ScriptedRunner, SystemRunner


def test_output_and_input_pass_through() -> None:
    assert SystemRunner().run("cat", stdin=b"hello") == "hello"


def test_a_failure_tells_command_status_and_complaint() -> None:
    with pytest.raises(CommandFailed, match="exit status 3: bad luck") as failed:
        SystemRunner().run("sh", "-c", "echo bad luck >&2; exit 3")
    assert failed.value.argv[0] == "sh"
    assert failed.value.exit_status == 3


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandFailed, match="did not end in time") as failed:
        SystemRunner().run(sys.executable, "-c", "import signal; signal.pause()", timeout_s=0.05)
    assert failed.value.exit_status is None


def test_a_missing_command_is_told_by_name() -> None:
    with pytest.raises(CommandFailed, match="nosuch: not found"):
        SystemRunner().run("nosuch")


def test_the_environment_is_only_what_was_given() -> None:
    runner = SystemRunner({"PATH": "/usr/bin:/bin", "COLOUR": "blue"})
    assert set(runner.run("env").split()) >= {"COLOUR=blue"}
    assert "HOME=" not in runner.run("env")


def test_the_fake_answers_what_it_was_told_and_nothing_else() -> None:
    failure = CommandFailed(("jls", "-x"), 1, "no such option")
    runner = ScriptedRunner({("jls",): "n1\n", ("jls", "-x"): failure})
    assert runner.run("jls", timeout_s=1.0) == "n1\n"
    with pytest.raises(CommandFailed, match="no such option"):
        runner.run("jls", "-x")
    with pytest.raises(KeyError):
        runner.run("jail", "-r", "n1")
    assert runner.asked == [("jls",), ("jls", "-x"), ("jail", "-r", "n1")]
