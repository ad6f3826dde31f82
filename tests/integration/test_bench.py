"""The benchmark of many apps, with few: it measures something, and ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_many_apps_are_measured_with_every_figure() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.many", "3", "2"],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: len(runs) for name, runs in found.items()} == {
        "first_s": 1,
        "idle_cpu_s": 2,
        "change_s": 2,
        "peak_mib": 1,
    }
    assert all(run > 0 for runs in found.values() for run in runs)
