"""Processes of this machine: who lives, who belongs to whose group, and signals to exactly them.

A process id alone names nobody for long: the kernel gives it to the next one. Here a process is
its id together with its birth, and a signal goes only to what still matches. This module starts
nothing; ``maculaos.host.programs`` does.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process, not to be mistaken for a later one with its id; ``born`` is only compared."""

    pid: int
    born: str


class ProcessTable(Protocol):
    """What can be seen of processes, and done to them."""

    def mark(self, pid: int) -> ProcessMark | None:
        """The process that has this id now, also when it ended and awaits reaping."""
        ...

    def is_alive(self, process: ProcessMark) -> bool:
        """Whether this very process runs; one that only awaits reaping does not."""
        ...

    def signal(self, process: ProcessMark, number: int) -> bool:
        """Signal this very process; False if it is gone. Raises ``PermissionError``."""
        ...

    def session(self, leader_pid: int) -> tuple[ProcessMark, ...]:
        """All that run in the process group and session that ``leader_pid`` leads or led."""
        ...

    def home(self, process: ProcessMark) -> str | None:
        """``HOME`` as it was when the process was started; None if it cannot be seen."""
        ...


class ProcfsProcesses:
    """Reads Linux's /proc: quick, and births in clock ticks since boot, which never jump."""

    def __init__(self) -> None:
        self._boot = _BOOT_ID.read_text("ascii").strip()[:8]

    def mark(self, pid: int) -> ProcessMark | None:
        """See ``ProcessTable.mark``."""
        fields = _stat_fields(pid)
        return None if fields is None else ProcessMark(pid, self._birth(fields))

    def is_alive(self, process: ProcessMark) -> bool:
        """See ``ProcessTable.is_alive``."""
        fields = _stat_fields(process.pid)
        return fields is not None and _runs(fields) and self._birth(fields) == process.born

    def signal(self, process: ProcessMark, number: int) -> bool:
        """See ``ProcessTable.signal``. The process is held by a descriptor, so no race is left."""
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive(process):
                return False
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True

    def session(self, leader_pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.session``."""
        wanted = [str(leader_pid).encode()] * 2
        pids = (int(name) for name in os.listdir(_PROC) if name.isdigit())
        seen = ((pid, _stat_fields(pid)) for pid in pids)
        return tuple(
            ProcessMark(pid, self._birth(fields))
            for pid, fields in seen
            if fields is not None and fields[2:4] == wanted and _runs(fields)
        )

    def home(self, process: ProcessMark) -> str | None:
        """See ``ProcessTable.home``."""
        try:
            environment = (_PROC / str(process.pid) / "environ").read_bytes()
        except OSError:
            return None
        homes = [word[5:] for word in environment.split(b"\0") if word.startswith(b"HOME=")]
        return os.fsdecode(homes[0]) if homes and self.is_alive(process) else None

    def _birth(self, fields: list[bytes]) -> str:
        return f"{self._boot}:{fields[19].decode('ascii')}"


def _stat_fields(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the third (state) on; see proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name, which may contain spaces and brackets.
    return text[text.rindex(b")") + 2 :].split()


def _runs(fields: list[bytes]) -> bool:
    return fields[0] not in {b"Z", b"X"}


class PsutilProcesses:
    """The same for FreeBSD and macOS, through psutil, which is loaded only there."""

    def mark(self, pid: int) -> ProcessMark | None:
        """See ``ProcessTable.mark``."""
        import psutil

        try:
            return ProcessMark(pid, f"{psutil.Process(pid).create_time():.2f}")
        except psutil.Error:
            return None

    def is_alive(self, process: ProcessMark) -> bool:
        """See ``ProcessTable.is_alive``."""
        import psutil

        with suppress(psutil.Error):
            ended = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            runs = psutil.Process(process.pid).status() not in ended
            return runs and self.mark(process.pid) == process
        return False

    def signal(self, process: ProcessMark, number: int) -> bool:
        """See ``ProcessTable.signal``."""
        if not self.is_alive(process):
            return False
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
            return True
        return False

    def session(self, leader_pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.session``."""
        import psutil

        marks = (self.mark(pid) for pid in psutil.pids() if _is_led_by(pid, leader_pid))
        return tuple(mark for mark in marks if mark is not None and self.is_alive(mark))

    def home(self, process: ProcessMark) -> str | None:
        """See ``ProcessTable.home``."""
        import psutil

        with suppress(psutil.Error, OSError):
            home = psutil.Process(process.pid).environ().get("HOME")
            return home if self.is_alive(process) else None
        return None


def _is_led_by(pid: int, leader_pid: int) -> bool:
    with suppress(OSError):
        return os.getpgid(pid) == os.getsid(pid) == leader_pid
    return False


def system_processes() -> ProcessTable:
    """The best way to see processes on this machine."""
    return ProcfsProcesses() if sys.platform == "linux" else PsutilProcesses()


class FakeProcesses:
    """A machine with the processes that a test put there; a signal ends its receiver.

    ``deaf`` holds processes that only SIGKILL ends.
    """

    def __init__(self) -> None:
        self.running: dict[int, ProcessMark] = {}
        self.leaders: dict[int, int] = {}
        self.homes: dict[int, str] = {}
        self.deaf: set[int] = set()
        self.signalled: list[tuple[ProcessMark, int]] = []
        self.on_signal: Callable[[ProcessMark, int], None] = lambda _process, _number: None

    def put(self, pid: int, born: str, *, leader_pid: int = 0, home: str = "") -> ProcessMark:
        """Let a process run; without a leader it leads its own session."""
        self.running[pid] = process = ProcessMark(pid, born)
        self.leaders[pid] = leader_pid or pid
        self.homes[pid] = home
        return process

    def mark(self, pid: int) -> ProcessMark | None:
        """See ``ProcessTable.mark``."""
        return self.running.get(pid)

    def is_alive(self, process: ProcessMark) -> bool:
        """See ``ProcessTable.is_alive``."""
        return self.running.get(process.pid) == process

    def signal(self, process: ProcessMark, number: int) -> bool:
        """See ``ProcessTable.signal``."""
        if not self.is_alive(process):
            return False
        self.signalled.append((process, number))
        self.on_signal(process, number)
        if number == signal.SIGKILL or process.pid not in self.deaf:
            self.running.pop(process.pid, None)
        return True

    def session(self, leader_pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.session``."""
        return tuple(self._led_by(leader_pid))

    def home(self, process: ProcessMark) -> str | None:
        """See ``ProcessTable.home``."""
        return self.homes[process.pid] if self.is_alive(process) else None

    def _led_by(self, leader_pid: int) -> Iterator[ProcessMark]:
        return (mark for pid, mark in self.running.items() if self.leaders[pid] == leader_pid)
