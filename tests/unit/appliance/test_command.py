"""The command and its launcher: one clear line for wrong use; a trial never hangs on a bug."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import appliance

LIBRARY = Path(appliance.__file__).parents[1]
LAUNCHER = LIBRARY.parents[1] / "sbin/maculaos-update"
ROOT = Path(__file__).resolve().parents[3]


def launch(
    *argv: str, tools: Path | None = None, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "MACULA_PYTHON": python,
        "MACULA_LIB": f"{LIBRARY}:{ROOT}",
        "PATH": f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"],
    }
    return subprocess.run(
        [str(LAUNCHER), *argv], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "argv",
    [("forget",), ("forget", "ab", "--all"), ("factory-reset",), ("install", "/nonexistent")],
    ids=" ".join,
)
def test_wrong_use_is_one_line_and_status_2(argv: tuple[str, ...]) -> None:
    done = launch(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("maculaos-update: ")


@pytest.mark.parametrize(
    ("marks", "reboots"),
    [
        ("[bootonce]", True),
        ("[bootfailed,bootonce]", True),
        ("[bootonce,bootme]", False),
        ("[bootme]", False),
    ],
)
def test_updater_that_cannot_run_on_trial_reboots(
    tmp_path: Path, marks: str, reboots: bool
) -> None:
    for name, text in {
        "gpart": f"echo '  16384  614400  4  slotB  {marks}  (300M)'",
        "shutdown": f'echo "$@" > {tmp_path}/asked',
    }.items():
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{text}\n")
        tool.chmod(0o755)
    done = launch("boot", tools=tmp_path, python="/bin/false")
    assert done.returncode == 1
    assert (tmp_path / "asked").exists() == reboots
