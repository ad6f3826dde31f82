"""The benchmark of idle links, with few: it measures something, and ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_memory_of_idle_links_is_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.idle", "20"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0 < float(done.stdout) < 2000
