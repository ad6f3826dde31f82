"""Apps that write down their lives, and the laws that those have to obey.

Each program adds a line to one file when it runs and when it is told to end; it reads the traffic
file at that moment, so whoever is ended while traffic still goes there says so itself. The lines
bear the machine's monotonic clock: at every moment in between is known who ran, without a look.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from jailyard import is_running

if TYPE_CHECKING:
    from collections.abc import Iterable

# Words: name, version, the file of lives, the traffic file, and the status to end with soon; if
# that is 0 it runs until it is told to end.
LIVES = r"""
import json, os, signal, sys, time
name, version, file, traffic, status = sys.argv[1:6]
instance = os.environ["MACULA_INSTANCE"]
def say(word):
    line = f"{time.monotonic_ns()} {word} {name} {version} {instance} {os.getpid()}\n"
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, line.encode())
    os.close(handle)
def end(*_):
    try:
        with open(traffic) as said:
            active = [(each["instance"], each["version"]) for each in json.load(said)["active"]]
    except OSError:
        active = []
    is_served = any(each == instance for each, _ in active)
    say("ends-in-traffic" if is_served else "ends")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
say("runs")
if status != "0":
    time.sleep(0.05)
    say("fails")
    os._exit(int(status))
while True:
    signal.pause()
"""


@dataclass(frozen=True, slots=True)
class Span:
    """One run of one program; ``ended_at`` is None while it runs. Nanoseconds."""

    version: str
    instance: str
    pid: int
    began_at: int
    ended_at: int | None
    how: str


@dataclass(frozen=True, slots=True)
class Lives:
    """The file of lives of one app, and what follows from it."""

    root: Path
    name: str

    @property
    def file(self) -> Path:
        """Where the programs write."""
        return self.root / f"{self.name}.lives"

    @property
    def traffic(self) -> Path:
        """The file that says where the traffic goes."""
        return self.root / "run/traffic.d" / f"{self.name}.json"

    def spec(self, version: str, *, status: int = 0, **said: Any) -> str:
        """The file of an app that writes down its lives; it ends with ``status`` soon, if not 0."""
        words = (self.name, version, str(self.file), str(self.traffic), str(status))
        command = [sys.executable, "-I", "-S", "-c", LIVES, *words]
        return yaml.safe_dump(
            {"version": 1, "name": self.name, "node": "n1", "command": command, **said}
        )

    def spans(self) -> list[Span]:
        """Every run so far, in the order of their beginnings."""
        lines = [line.split() for line in self.file.read_text().splitlines()]
        ends = {int(line[5]): (int(line[0]), line[1]) for line in lines if line[1] != "runs"}
        made = []
        for at, word, _, version, instance, pid in lines:
            if word == "runs":
                ended_at, how = ends.get(int(pid), (None, "runs"))
                made.append(Span(version, instance, int(pid), int(at), ended_at, how))
        return made

    def running(self) -> Counter[str]:
        """How many run now by version, as the process table says it."""
        spans = [each for each in self.spans() if each.ended_at is None]
        return Counter(each.version for each in spans if is_running(each.pid))


def fewest(spans: Iterable[Span], since: int) -> int:
    """How many ran at the same time at the least, from ``since`` on."""
    turns = [(max(each.began_at, since), 1) for each in spans]
    turns += [(each.ended_at, -1) for each in spans if each.ended_at is not None]
    count, least = 0, sys.maxsize
    # At the same moment the one that begins comes first.
    for at, turn in sorted(turns, key=lambda turn: (turn[0], -turn[1])):
        count += turn
        if at > since:
            least = min(least, count)
    return min(least, count)


def ended_in_traffic(spans: Iterable[Span]) -> list[Span]:
    """Who was told to end while the traffic file still named it."""
    return [each for each in spans if each.how == "ends-in-traffic"]


def twice(spans: Iterable[Span]) -> list[tuple[Span, Span]]:
    """Runs of one instance that overlap."""
    last: dict[str, Span] = {}
    found = []
    for each in spans:
        before = last.get(each.instance)
        if before is not None and (before.ended_at is None or before.ended_at > each.began_at):
            found.append((before, each))
        last[each.instance] = each
    return found


def vanished(spans: Iterable[Span]) -> list[Span]:
    """Who is gone without having been told to end."""
    return [each for each in spans if each.ended_at is None and not is_running(each.pid)]
