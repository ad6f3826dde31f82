"""The log of a serial console: every line with the time since the power came on; kept after a run.

Times are monotonic seconds. What the watcher made lines of is what is written, so escape sequences
are not in it. Bounded: what is beyond ``BYTES_MAX`` is left out, and the log says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BYTES_MAX: Final = 64 << 20


class SerialLog:
    """Appends to one file, line by line, so that a killed run leaves what was said."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._started_at = 0.0
        self._written = path.stat().st_size

    def begin(self, what: str, now: float) -> None:
        """Say what happens to the machine, and count time from here."""
        self._started_at = now
        self._write(f"--- {what}\n")

    def note(self, what: str, now: float) -> None:
        """Say what is done to the machine."""
        self._write(f"{now - self._started_at:9.3f} --- {what}\n")

    def line(self, text: str, now: float) -> None:
        """Write what the machine said."""
        self._write(f"{now - self._started_at:9.3f} {text}\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, line: str) -> None:
        if self._written > BYTES_MAX or self._file.closed:
            return
        self._written += len(line)
        self._file.write(line if self._written <= BYTES_MAX else "--- the log is full\n")


def said(path: Path) -> Iterator[str]:
    """What the machine said, line by line, without times and notes."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            _, _, text = line.lstrip().rstrip("\n").partition(" ")
            if not line.startswith("---") and not text.startswith("--- "):
                yield text
