"""Builds an image and kills the build at every border of a step, from a process of its own.

Run as ``python -m imagekiller FOLDER OUT``: the yard in FOLDER is built into OUT by children, each
killed (SIGKILL) one border later than the one before it, until one comes to its end. It prints how
many were killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from imageyard import Yard

if TYPE_CHECKING:
    from imagebuilder.plan import Step

DEATHS_MAX = 200


class Killer:
    """A screen that ends its process at the first border that nobody died at before."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def begin(self, step: Step) -> None:
        """Die before the step does anything."""
        self._pass(f"begin {step.name}")

    def advance(self, done: int, total: int) -> None:
        """Die in the middle of the work of a step, once."""
        self._pass(f"advance {min(done, 1)} {total}")

    def end(self, step: Step, seconds: float) -> None:
        """Die right after the step."""
        del seconds
        self._pass(f"end {step.name}")

    def fail(self, step: Step, log: Path) -> None:
        """Nothing is expected to fail."""
        sys.stderr.write(f"{step.name} failed\n{log.read_text()}")

    def _pass(self, border: str) -> None:
        seen = self._record.read_text().splitlines() if self._record.exists() else []
        if border not in seen:
            self._record.write_text("".join(f"{line}\n" for line in [*seen, border]))
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, out: str) -> int:
    """Build until a child comes to its end; the number of those that were killed."""
    yard = Yard(folder)
    record = folder / f"{out}.borders"
    for deaths in range(DEATHS_MAX):
        child = os.fork()
        if child == 0:
            yard.build(yard.order(out), Killer(record))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            return deaths
        if os.WTERMSIG(status) != signal.SIGKILL:
            raise SystemExit(f"a build ended with status {status}")
    raise SystemExit(f"more than {DEATHS_MAX} builds were killed")


if __name__ == "__main__":
    sys.stdout.write(f"{main(Path(sys.argv[1]), sys.argv[2])}\n")
