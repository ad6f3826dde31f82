"""A reconciler as a machine has it: a process of its own, asked nothing, judged by what it does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rolloutyard
from reconciling import Bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PATIENCE_S = 120.0
# A good version has time, however slow the machine is.
PATIENT = {"healthy_deadline_s": 60.0, "progress_deadline_s": 90.0}


def app(name: str, version: str, *words: str, **said: Any) -> str:
    """The file of an app, as ``rolloutyard`` has it, that is not given up in a hurry."""
    return rolloutyard.app(name, version, *words, strategy=PATIENT, **said)


@dataclass
class Operated:
    """A reconciler that runs; ``bench`` is where."""

    bench: Bench
    process: subprocess.Popen[bytes]

    def until(self, what: str, holds: Callable[[], Any]) -> Any:
        """Wait until ``holds``; the reconciler must live all the while."""
        deadline, pause_s = time.monotonic() + PATIENCE_S, 0.02
        while not (found := holds()):
            assert self.process.poll() is None, f"the reconciler ended: {self.log()[-2000:]}"
            assert time.monotonic() < deadline, f"never: {what}: {self.log()[-2000:]}"
            time.sleep(pause_s)
            pause_s = min(0.1, pause_s * 1.1)
        return found

    def log(self) -> str:
        """What it wrote so far."""
        return (self.bench.root / "log").read_text()

    def status(self) -> dict[str, Any]:
        """What it shows."""
        try:
            said = json.loads((self.bench.root / "state/status.json").read_text())
        except FileNotFoundError:
            return {}
        return dict(said)

    def problem(self, part: str) -> bool:
        """Whether it shows a problem that says so."""
        return any(part in line for line in self.status().get("problems", ()))

    def shows_no_problem(self) -> bool:
        """Whether nothing is wrong but that its node has no credentials."""
        problems = self.status().get("problems", ["nothing shown"])
        return all("no credentials" in line for line in problems)

    def applied(self, revision: str) -> None:
        """Wait until that commit is applied."""
        self.until(
            f"{revision} is applied",
            lambda: self.status().get("revisions", {}).get("applied") == revision,
        )


@contextmanager
def operated(bench: Bench, path: str = "") -> Iterator[Operated]:
    """A reconciler on that bench; it ends in order when it is told to, or the test fails.

    ``path``: a folder whose programs come before all others.
    """
    argv = [sys.executable, "-m", "reconciler.cli", "run", "--config", str(bench.config)]
    environment = {
        **os.environ,
        "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
    }
    with (bench.root / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, env=environment)
    try:
        running = Operated(bench, process)
        yield running
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, running.log()[-2000:]
        assert "Traceback" not in running.log(), running.log()[-2000:]
    finally:
        process.kill()
        process.wait()
