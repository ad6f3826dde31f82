"""The main job, as ``make up-check`` plays it: real Git, real QUIC, real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.acts import ACTS

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def root() -> Iterator[Path]:
    """A short path, since sockets will lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="macula-", dir="/tmp"))  # short: sockets lie in it
    yield folder / "check"
    shutil.rmtree(folder)


def demo(verb: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "demo", verb, "--root", str(root)),
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": "examples", "COLUMNS": "160"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.timeout(180)
def test_every_act_of_the_main_job_happens(root: Path) -> None:
    done = demo("check", root)
    log = root / "reconciler.log"
    said = log.read_text() if log.exists() else ""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{said[-8000:]}"
    assert done.stdout.count(" ok ") == len(ACTS)


def test_down_without_a_demo_says_so(root: Path) -> None:
    done = demo("down", root)
    assert done.returncode == 0
    assert "nothing to stop" in done.stderr
