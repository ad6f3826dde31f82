"""The real start script of FreeBSD jails, under a shell of this machine below a small daemon(8)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jails.freebsd import render
from jails.freebsd.place import Place
from jails.spec import JailSpec, Restart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jails.freebsd.status import Status

PATIENCE_S = 20.0
# What FreeBSD's does with -r and -P: it runs its child again when that is gone and nobody holds the
# pipe any more; asked to end it passes that on, and goes without waiting.
DAEMON = """\
import os, signal, sys, time
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
pid_file, shell, script = sys.argv[1:]
child = 0
def end(*_):
    if child:
        os.kill(child, signal.SIGTERM)
    os._exit(1)
signal.signal(signal.SIGTERM, end)
with open(pid_file, "w") as file:
    file.write(str(os.getpid()))
while True:
    ours, its = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(its, 1)
        os.dup2(its, 2)
        os.execv(shell, [shell, script])
    os.close(its)
    while os.read(ours, 4096):
        pass
    os.close(ours)
    os.waitpid(child, 0)
    child = 0
    time.sleep(0.02)
"""


class Yard:
    """One jail's folders; what its root would be is this machine's."""

    def __init__(self, folder: Path, shell: str) -> None:
        self.folder = folder
        self.shell = shell
        self.place = Place(folder)
        self.seats = render.Seats(
            launch=str(self.place.launch),
            keep=str(self.place.keep),
            logs=str(self.place.logs),
            run=str(folder),
            log_bytes=8192 * 4,
        )
        data = self.place.directory.data
        for path in (self.place.launch, self.place.keep, self.place.logs, data):
            path.mkdir()
        self.daemon: subprocess.Popen[bytes] | None = None
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, restart: Restart) -> None:
        """Run ``program``, shell text with data/ as its folder, below loop and daemon."""
        spec = JailSpec(name="n1", command=("/bin/sh", "-c", program), restart=restart)
        became = render.program_script(spec)
        data = self.place.directory.data
        (self.place.launch / "program").write_text(became.replace("cd /data", f"cd {data}"))
        (self.place.launch / "start").write_text(render.start_script(spec, self.seats))
        self.run()

    def run(self) -> None:
        """Start the daemon; its group is its own, so that all of it can be ended."""
        script = str(self.place.launch / "start")
        command = [sys.executable, "-I", "-S", "-c", DAEMON, str(self.folder / "n1.pid")]
        self.daemon = subprocess.Popen([*command, self.shell, script], start_new_session=True)
        self._daemons.append(self.daemon)

    def end(self) -> None:
        """Leave nothing behind."""
        for daemon in self._daemons:
            with suppress(ProcessLookupError):
                os.killpg(daemon.pid, signal.SIGKILL)
            daemon.wait()

    def processes(self) -> list[int]:
        """Whoever lives of the daemon and what came of it."""
        assert self.daemon is not None
        entries = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in entries if _group(pid) == self.daemon.pid and is_alive(pid)]

    def status(self) -> Status:
        """What the loop says, when it says anything."""
        self.eventually("there is a status", lambda: self.place.status() is not None)
        status = self.place.status()
        assert status is not None
        return status

    def program(self) -> int:
        """The program, when one runs."""
        self.eventually("the program runs", lambda: self.status().program is not None)
        return self.status().program or 0

    def runs(self) -> bool:
        """Whether the program that is on record has really begun; for programs that say so."""
        return self.said("pids")[-1:] == [str(self.status().program)]

    def loop(self) -> int:
        """The loop, which is daemon's child; a killed one that is not collected yet is none."""
        seen: list[int] = []

        def lives() -> bool:
            seen[:] = self._loops()
            return bool(seen)

        self.eventually("the loop runs", lives)
        return seen[0]

    def kill(self, pid: int) -> None:
        """End a process by force; when this returns it is dead, and nobody takes it for alive."""
        os.kill(pid, signal.SIGKILL)
        self.eventually(f"{pid} is dead", lambda: not is_alive(pid))

    def _loops(self) -> list[int]:
        assert self.daemon is not None
        children = Path(f"/proc/{self.daemon.pid}/task/{self.daemon.pid}/children").read_text()
        return [pid for pid in map(int, children.split()) if is_alive(pid)]

    def said(self, name: str) -> list[str]:
        """The lines of a file that the program wrote in its folder."""
        path = self.place.directory.data / name
        return path.read_text().splitlines() if path.exists() else []

    def eventually(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until ``holds``; fails with what is so instead."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                logged = self.place.last_lines(20)
                raise AssertionError(f"never: {what}; {self.place.status()}; log {logged}")
            time.sleep(0.01)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def is_alive(pid: int) -> bool:
    """Whether that process is there and no mere entry that nobody collects."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@contextmanager
def yard(shell: str) -> Iterator[Yard]:
    """Folders that go, with every process below them."""
    folder = Path(tempfile.mkdtemp(prefix="start", dir="/tmp"))
    made = Yard(folder, shell)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(folder)
