"""A machine with many apps, as a reconciler of its own sees it: repository, settings, folders."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.security.authority import Request, create_realm, issue
from reconciling import REALM, a_bench, app, node

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciling import Bench

RECONCILER = Path(sys.executable).with_name("reconciler")

__all__ = ["a_bench", "changed", "give_credentials", "halt", "repository", "run"]


def repository(count: int) -> dict[str, str]:
    """A realm, one node, and ``count`` apps that use it."""
    apps = {f"apps/app{number}.yaml": app(f"app{number}") for number in range(count)}
    return {"realm.yaml": REALM, "nodes/n1.yaml": node("n1", 4701), **apps}


def give_credentials(bench: Bench) -> None:
    """Make the realm, and the identity of its node, for real."""
    now, entropy = SystemClock().now(), SystemEntropy()
    create_realm(bench.root / "realm", "demo", now=now, entropy=entropy)
    request = Request(name="n1")
    issue(bench.root / "realm", bench.root / "credentials", request, now=now, entropy=entropy)


def changed(number: int, seconds: int) -> Mapping[str, str]:
    """The file of one app, with one line that differs."""
    return {f"apps/app{number}.yaml": app(f"app{number}", "n1", "sleep", str(seconds))}


def run(bench: Bench, *words: str) -> tuple[dict[str, Any], float]:
    """One ``reconciler`` command as a whole process: its JSON, and the seconds it took."""
    command = [str(RECONCILER), *words, "--config", str(bench.config), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer, took


def halt(bench: Bench) -> None:
    """Stop and delete whatever runs."""
    command = [str(RECONCILER), "down", "--config", str(bench.config)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
