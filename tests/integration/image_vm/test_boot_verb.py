"""``imagebuilder boot`` in a terminal: what it says first, the console, Ctrl-A X, what it keeps."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

BUILD: Final = Path(__file__).parents[3]
SMALL: Final = ("--memory", "64", "--accelerator", "tcg")
_LIMIT_S: Final = 40.0
_BOOT: Final = "from imagebuilder.vm.cli import app; app()"


class _Terminal:
    """A terminal in which the verb runs."""

    def __init__(self, folder: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        paths = f"{BUILD / 'build'}:{BUILD}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, "boot", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": paths, "TERM": "dumb"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.said = ""

    def wait(self, text: str) -> None:
        """Read until ``text`` was said."""
        deadline = time.monotonic() + _LIMIT_S
        while text not in self.said:
            assert select.select([self._ours], [], [], deadline - time.monotonic())[0], self.said
            self.said += os.read(self._ours, 4096).decode(errors="replace")

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def close(self) -> int:
        """Wait for the end, by force if need be; the exit status."""
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._ours)


def test_boot_says_how_to_get_in_then_shows_the_console_and_keeps_the_disk(
    image: Path, tmp_path: Path
) -> None:
    before = image.read_bytes()
    for words, start in (((), 1), ((), 2), (("--fresh",), 1)):
        terminal = _Terminal(tmp_path, str(image), *SMALL, *words)
        terminal.wait(f"tiny guest, start {start}")
        terminal.wait("login: ")
        terminal.type("\x01x")
        assert terminal.close() == 0
        lines = terminal.said.splitlines()
        assert lines[0].startswith("ssh       ssh -p ")
        assert lines[1].startswith("node      udp ")
        assert lines[2].startswith("machine   bios, 64 MiB")
    assert image.read_bytes() == before
    log = tmp_path / "var/boot/tiny/serial.log"
    assert log.read_text(errors="replace").count("tiny guest") == 3
    assert sorted(path.name for path in (tmp_path / "var/boot/tiny").iterdir()) == [
        "base", "disk.qcow2", "lock", "serial.log",
    ]  # fmt: skip


def test_the_same_machine_does_not_run_twice(image: Path, tmp_path: Path) -> None:
    terminal = _Terminal(tmp_path, str(image), *SMALL)
    terminal.wait("login: ")
    second = _Terminal(tmp_path, str(image), *SMALL, "--fresh")
    second.wait("is locked")
    assert second.close() != 0
    terminal.type("\x01x")
    assert terminal.close() == 0
