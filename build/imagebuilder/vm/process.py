"""QEMU as a child process: started in a session of its own, killed for sure, always reaped.

Made for programs with several threads, so it neither forks Python nor waits in the background. On
Linux QEMU also dies with whoever started it, however that dies.
"""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING, Final

from maculaos.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from maculaos.host.clock import Clock

_POLL_S: Final = 0.02
_TAIL_BYTES: Final = 4096
_MODE: Final = 0o600


class Process:
    """One running program; its output goes to a file."""

    def __init__(self, argv: tuple[str, ...], log: Path, clock: Clock) -> None:
        """Start ``argv``; raises ``UsageError`` when there is no such program."""
        self.log = log
        self._clock = clock
        self._exit_status: int | None = None
        if shutil.which(argv[0]) is None:
            raise UsageError(
                f"{argv[0]} is not installed", "install Debian's qemu-system-x86 and qemu-utils"
            )
        self._pid = os.posix_spawnp(
            *_command(argv),
            os.environ,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
            # Ctrl-C in the terminal is for whoever started it, not for the machine.
            setpgroup=0,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._pid

    def has_ended(self) -> bool:
        """Whether it ended; it is reaped then."""
        if self._exit_status is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                self._exit_status = os.waitstatus_to_exitcode(status)
        return self._exit_status is not None

    def wait_end(self, timeout_s: float) -> bool:
        """Whether it ended within that time."""
        deadline = self._clock.monotonic() + timeout_s
        while not self.has_ended():
            if self._clock.monotonic() >= deadline:
                return False
            self._clock.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """End it at once, as if its power were cut, and reap it."""
        if not self.has_ended():
            os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            self._exit_status = os.waitstatus_to_exitcode(status)

    def complaint(self) -> str:
        """What it said last, in one line, for people."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                said = file.read(_TAIL_BYTES).decode("utf-8", "replace")
        except OSError:
            said = ""
        return " ".join(said.split()) or f"it ended with status {self._exit_status}"


def _command(argv: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Program and arguments; on Linux with the order to die with the parent (prctl(2))."""
    if shutil.which("setpriv") is None:
        return argv[0], argv
    return "setpriv", ("setpriv", "--pdeathsig", "KILL", *argv)
