"""Apps whose programs and hooks write down what they live through, a line each, in one file.

The lines bear the machine's monotonic clock, so their order says what came when. A hook is known by
its word; it may take its time, end badly, or never end. What it writes is from its environment:
the instance and the version of the program that it is run for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# Words: the file; then of a hook its word, the status it ends with, the seconds it takes, and a
# file that it waits for, if any.
_SAYS = r"""
import os, signal, sys, time
def say(word):
    who = f"{os.environ['VERSION']} {os.environ['MACULA_INSTANCE']} {os.getcwd()}"
    handle = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{time.monotonic_ns()} {word} {who}\n".encode())
    os.close(handle)
"""
PROGRAM = f"""{_SAYS}
def end(*_):
    say("ends")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("runs")
while True:
    signal.pause()
"""
HOOK = f"""{_SAYS}
say(sys.argv[2])
time.sleep(float(sys.argv[4]))
while sys.argv[5:] and not os.path.exists(sys.argv[5]):
    time.sleep(0.02)
raise SystemExit(int(sys.argv[3]))
"""
# Long deadlines: a good version must not fail because the machine is slow.
TIMES = {"min_healthy_time_s": 0.1, "healthy_deadline_s": 60.0, "progress_deadline_s": 200.0}
FOREVER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Line:
    """What was written once."""

    at: int
    word: str
    version: str
    instance: str
    folder: str


@dataclass(frozen=True, slots=True)
class HookLives:
    """The file of one app."""

    root: Path

    @property
    def file(self) -> Path:
        """Where everybody writes."""
        return self.root / "hooks.lives"

    def hook(self, word: str, *, status: int = 0, takes_s: float = 0.0) -> list[str]:
        """A command that writes down its word."""
        return [*_python(HOOK), str(self.file), word, str(status), str(takes_s)]

    def waiting(self, word: str, gate: Path) -> list[str]:
        """A command that does not end before that file is there."""
        return [*self.hook(word), str(gate)]

    def hooks(self, **others: Any) -> dict[str, Any]:
        """All three, as they should be, but for ``others``."""
        return {word: self.hook(word) for word in ("start", "drain", "stop")} | others

    def spec(self, version: str, **said: Any) -> str:
        """The file of the app at that version."""
        strategy = {**TIMES, **said.pop("strategy", {})}
        command = [*_python(PROGRAM), str(self.file)]
        own = {"command": command, "environment": {"VERSION": version}, "strategy": strategy}
        whole = {"version": 1, "name": "shop", "node": "n1", "hooks": self.hooks(), **own, **said}
        return yaml.safe_dump(whole)

    def lines(self) -> list[Line]:
        """Everything so far, in order."""
        try:
            written = self.file.read_text().splitlines()
        except FileNotFoundError:
            return []
        split = (line.split() for line in written)
        return sorted((Line(int(at), *rest) for at, *rest in split), key=lambda line: line.at)

    def words(self, version: str) -> dict[str, list[str]]:
        """By instance of that version, its words in order."""
        by_instance: dict[str, list[str]] = {}
        for line in self.lines():
            if line.version == version:
                by_instance.setdefault(line.instance, []).append(line.word)
        return by_instance

    def has(self, version: str, word: str) -> bool:
        """Whether that was written of that version."""
        return any(word in words for words in self.words(version).values())


def _python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]
