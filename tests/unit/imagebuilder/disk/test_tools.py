"""Tools of the build host: missing ones are named with where to get them."""

from __future__ import annotations

import pytest

from imagebuilder.disk import tools
from imagebuilder.disk.tools import run_tool
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed, SystemRunner


def test_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tools.PACKAGES, "no-such-tool", "some-package")
    with pytest.raises(UsageError, match=r"no-such-tool is not installed; .*some-package"):
        run_tool(SystemRunner(), "no-such-tool")


def test_tool_that_fails_says_so_itself() -> None:
    with pytest.raises(CommandFailed) as caught:
        run_tool(SystemRunner(), "ls", "/no/such/folder")
    assert caught.value.exit_status != 0
    assert "/no/such/folder" in caught.value.stderr


def test_environment_is_set_and_unset_for_the_tool_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XZ_OPT", "-9")
    said = run_tool(SystemRunner(), "printenv", environment=("-u", "XZ_OPT", "TZ=UTC"))
    assert "TZ=UTC\n" in said
    assert "XZ_OPT" not in said


def test_folders_of_the_administrator_are_searched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    said = run_tool(SystemRunner(), "printenv", "PATH")
    assert said == "/usr/bin:/bin:/usr/sbin:/sbin\n"
