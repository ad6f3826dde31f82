"""Gates that other programs judge: ruff, mypy, and the shells' own parsers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from architecture import tree

if TYPE_CHECKING:
    from pathlib import Path

_SHEBANG = re.compile(r"#!\s*/(?:usr/)?bin/(?:env\s+)?(sh|bash|dash)\b")


def _shell_of(file: Path) -> str:
    """The shell that the first line names, or nothing."""
    with file.open("rb") as opened:
        matched = _SHEBANG.match(opened.readline(120).decode("utf-8", "replace"))
    return matched[1] if matched else ""


def _scripts() -> list[Path]:
    return [file for file in tree.files() if file.suffix == ".sh" or _shell_of(file)]


def _rooms() -> list[str]:
    return [room for room in tree.PYTHON_ROOMS if tree.python_files(room)]


def test_ruff_finds_nothing() -> None:
    found = tree.python("-m", "ruff", "check", "--no-cache", "--output-format=concise", *_rooms())
    assert found.returncode == 0, f"make format mends most of it:\n{found.stdout}{found.stderr}"


def test_sources_are_laid_out_by_ruff() -> None:
    found = tree.python("-m", "ruff", "format", "--no-cache", "--check", *_rooms())
    assert found.returncode == 0, f"run make format:\n{found.stdout}{found.stderr}"


@pytest.mark.timeout(300)
def test_types_hold_under_mypy_strict() -> None:
    found = tree.python("-m", "mypy", "--no-error-summary", *_rooms())
    assert found.returncode == 0, f"types do not hold:\n{found.stdout}{found.stderr}"


@pytest.mark.parametrize("script", _scripts(), ids=tree.name_of)
def test_shell_script_is_clean(script: Path) -> None:
    found = tree.run(tree.tool("shellcheck"), script)
    assert found.returncode == 0, f"shellcheck objects:\n{found.stdout}{found.stderr}"
    shell = _shell_of(script)
    assert shell, f"{script} names no shell: begin it with #!/bin/sh"
    parsed = tree.run(shell, "-n", script)
    assert parsed.returncode == 0, f"{shell} -n objects:\n{parsed.stderr}"


def test_scripts_that_are_called_by_name_are_executable() -> None:
    called = [script for script in _scripts() if script.suffix != ".sh"]
    plain = [tree.name_of(script) for script in called if not script.stat().st_mode & 0o111]
    assert not plain, f"chmod +x {' '.join(plain)}"


def test_shell_scripts_are_found() -> None:
    assert tree.ROOT / ".ci/run" in _scripts(), "the search for shell scripts is broken"
