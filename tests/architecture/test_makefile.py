"""The Makefile keeps its word: what help lists exists, and nothing pretends."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from architecture import tree

if TYPE_CHECKING:
    from pathlib import Path

TARGETS = (
    "help", "up", "up-check", "down", "test", "check", "format", "simulate",
    "bench", "bench-peers", "image", "installer", "boot", "test-vm", "lock", "clean",
)  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with our Makefile and its scripts, and none of our sources."""
    shutil.copy(tree.ROOT / "Makefile", tmp_path)
    shutil.copytree(tree.ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def test_help_lists_every_target(checkout: Path) -> None:
    said = tree.run("make", cwd=checkout).stdout
    assert re.findall(r"^  make (\S+)", said, re.MULTILINE) == list(TARGETS)


def test_every_target_is_phony() -> None:
    text = tree.text_of(tree.ROOT / "Makefile")
    phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert sorted(" ".join(phony).split()) == sorted(TARGETS), "folders bear the names of targets"


def test_clean_refuses_while_something_runs_in_var(checkout: Path) -> None:
    state = checkout / "var/demo/node.yaml"
    state.parent.mkdir(parents=True)
    state.touch()
    sleeper = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", sleeper, state], stdin=subprocess.PIPE) as running:
        refused = tree.run("make", "clean", cwd=checkout)
        assert running.stdin is not None
        running.stdin.close()
    assert refused.returncode == 2
    assert "make down" in refused.stderr
    assert state.exists()
    assert tree.run("make", "clean", cwd=checkout).returncode == 0
    assert not (checkout / "var").exists()


def test_clean_spares_the_keys_that_machines_trust(checkout: Path) -> None:
    for name in ("keys/image.pem", "image/disk.img"):
        file = checkout / "var" / name
        file.parent.mkdir(parents=True)
        file.touch()
    assert tree.run("make", "clean", cwd=checkout).returncode == 0
    assert [path.name for path in (checkout / "var").iterdir()] == ["keys"]


def test_continuous_integration_runs_make_test_and_nothing_else() -> None:
    script = tree.text_of(tree.ROOT / ".ci/run")
    made = re.findall(r"^(?:exec )?make .*$", script, re.MULTILINE)
    assert made == ["exec make test"]
    assert not re.findall(r"\b(?:pip|pytest|npm|curl|wget)\b", script)


def test_a_shim_that_fails_is_passed_over(tmp_path: Path) -> None:
    _program(tmp_path / "python3.13", "echo 'not installed' >&2; exit 127")
    _program(tmp_path / "python3", f'exec "{sys.executable}" "$@"')
    found = _find_python(tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == str(tmp_path / "python3")


def test_no_python_at_all_gives_one_line_with_the_next_move(tmp_path: Path) -> None:
    _program(tmp_path / "python3", "exit 127")
    found = _find_python(tmp_path)
    assert found.returncode == 1
    assert found.stdout == ""
    assert len(found.stderr.splitlines()) == 1
    assert "make PYTHON=" in found.stderr


def test_a_python_without_ensurepip_names_the_package_to_install(tmp_path: Path) -> None:
    _program(
        tmp_path / "python3",
        f'case "$2" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"',
    )
    found = _find_python(tmp_path)
    assert found.returncode == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt install python{version}-venv" in found.stderr


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def _find_python(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the search with nothing but ``path`` to search."""
    script = tree.ROOT / "requirements/find-python.sh"
    return tree.run("/usr/bin/env", "-i", f"PATH={path}", "/bin/sh", script)
