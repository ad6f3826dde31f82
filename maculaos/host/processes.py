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
    from collections.abc import Callable, Iterator, Mapping

    import psutil

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class ProcessMark:
    """One process, not to be mistaken for a later one with its id; ``born`` is only compared."""

    pid: int
    born: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A process as a scan met it. It may have ended since: the mark tells."""

    process: ProcessMark
    arguments: tuple[str, ...]
    # The variable that was asked for; None if it is not set or cannot be seen.
    value: str | None
    leads_session: bool


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

    def descendants(self, pid: int) -> tuple[ProcessMark, ...]:
        """All that run below ``pid``: its children, and theirs, whichever session they are in.

        Who lost its parent is found only if the system gave it to ``pid`` or to one below it
        (``maculaos.host.reaper``); who was started meanwhile may be missing: look again.
        """
        ...

    def holders(self, lock: Path) -> tuple[ProcessMark, ...]:
        """Processes of our own user that hold the lock file ``lock``, by an inherited descriptor.

        Linux only; elsewhere nobody is found.
        """
        ...

    def scan(self, variable: str) -> Iterator[Sighting]:
        """One pass over all that run as our own user, with one variable of their environment.

        Linux, FreeBSD and macOS show the environment that a process was started with, at the
        place where it lay then: a program that wrote over it (``setproctitle``) shows none.
        macOS hides it for programs of the system itself.
        """
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
        seen = ((pid, _stat_fields(pid)) for pid in _pids())
        return tuple(
            ProcessMark(pid, self._birth(fields))
            for pid, fields in seen
            if fields is not None and fields[2:4] == wanted and _runs(fields)
        )

    def descendants(self, pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.descendants``."""
        seen = {pid: fields for pid in _pids() if (fields := _stat_fields(pid)) is not None}
        below = _below(pid, {each: int(fields[1]) for each, fields in seen.items()})
        return tuple(
            ProcessMark(each, self._birth(seen[each])) for each in below if _runs(seen[each])
        )

    def holders(self, lock: Path) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.holders``."""
        try:
            wanted = lock.stat()
        except FileNotFoundError:
            return ()
        us = os.geteuid()
        # The birth is read first: if the id changes hands meanwhile, the mark is a dead one.
        marks = ((pid, self.mark(pid)) for pid in _pids() if _owner(pid) == us)
        found = (mark for pid, mark in marks if mark is not None and _holds_lock(pid, wanted))
        return tuple(filter(self.is_alive, found))

    def scan(self, variable: str) -> Iterator[Sighting]:
        """See ``ProcessTable.scan``."""
        prefix = os.fsencode(f"{variable}=")
        us = os.geteuid()
        for pid in _pids():
            # The birth is read first: if the id changes hands meanwhile, the mark is a dead one.
            fields = _stat_fields(pid)
            if fields is None or not _runs(fields) or _owner(pid) != us:
                continue
            arguments = _words(pid, "cmdline")
            values = (word for word in _words(pid, "environ") if word.startswith(prefix))
            value = next(values, None)
            yield Sighting(
                process=ProcessMark(pid, self._birth(fields)),
                arguments=tuple(map(os.fsdecode, arguments)),
                value=None if value is None else os.fsdecode(value[len(prefix) :]),
                leads_session=int(fields[3]) == pid,
            )

    def _birth(self, fields: list[bytes]) -> str:
        return f"{self._boot}:{fields[19].decode('ascii')}"


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir(_PROC) if name.isdigit())


def _below(pid: int, parents: Mapping[int, int]) -> list[int]:
    """Those that descend from ``pid``, each after its parent."""
    children: dict[int, list[int]] = {}
    for child, parent in parents.items():
        children.setdefault(parent, []).append(child)
    found = children.pop(pid, [])
    for each in found:
        # Taken out when it is used: ids that change hands meanwhile cannot lead in a circle.
        found.extend(children.pop(each, []))
    return found


def _holds_lock(pid: int, file: os.stat_result) -> bool:
    """Whether one of its descriptors holds a lock by flock(2) on that file."""
    try:
        handles = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    return any(_is_lock(pid, handle, file) for handle in handles)


def _is_lock(pid: int, handle: str, file: os.stat_result) -> bool:
    """See proc_pid_fdinfo(5): only the descriptors that share the lock tell of it."""
    try:
        if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{handle}"), file):
            return False
        with open(f"/proc/{pid}/fdinfo/{handle}", "rb") as info:
            lines = info.read(4096).splitlines()
    except OSError:
        return False
    return any(line.startswith(b"lock:") and b"FLOCK" in line for line in lines)


def _stat_fields(pid: int) -> list[bytes] | None:
    """Fields of /proc/PID/stat from the third (state) on; see proc_pid_stat(5)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read(4096)
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name, which may contain spaces and brackets.
    return text[text.rindex(b")") + 2 :].split()


def _words(pid: int, what: str) -> list[bytes]:
    # Of bounded size: the kernel takes a few megabytes at most when it starts a program.
    try:
        with open(f"/proc/{pid}/{what}", "rb", buffering=0) as file:
            return file.read().split(b"\0")[:-1]
    except OSError:
        return []


def _owner(pid: int) -> int | None:
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


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

    def descendants(self, pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.descendants``."""
        import psutil

        try:
            children = psutil.Process(pid).children(recursive=True)
        except psutil.Error:
            return ()
        marks = (self.mark(child.pid) for child in children)
        return tuple(mark for mark in marks if mark is not None and self.is_alive(mark))

    def holders(self, lock: Path) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.holders``."""
        del lock
        return ()

    def scan(self, variable: str) -> Iterator[Sighting]:
        """See ``ProcessTable.scan``."""
        import psutil

        us = os.geteuid()
        for pid in psutil.pids():
            mark = self.mark(pid)
            with suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                if mark is None or process.uids().effective != us or not self.is_alive(mark):
                    continue
                arguments, leads_session = tuple(process.cmdline()), os.getsid(pid) == pid
                yield Sighting(mark, arguments, _variable(process, variable), leads_session)


def _variable(process: psutil.Process, name: str) -> str | None:
    import psutil

    with suppress(psutil.Error, OSError):
        return process.environ().get(name)
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
        self.parents: dict[int, int] = {}
        self.lock_holders: set[int] = set()
        self.arguments: dict[int, tuple[str, ...]] = {}
        # The one variable that each was started with, whatever its name.
        self.values: dict[int, str | None] = {}
        self.deaf: set[int] = set()
        self.signalled: list[tuple[ProcessMark, int]] = []
        self.on_signal: Callable[[ProcessMark, int], None] = lambda _process, _number: None

    def put(
        self,
        pid: int,
        born: str,
        *,
        leader_pid: int = 0,
        arguments: tuple[str, ...] = (),
        value: str | None = None,
    ) -> ProcessMark:
        """Let a process run; without a leader it leads its own session."""
        self.running[pid] = process = ProcessMark(pid, born)
        self.leaders[pid] = leader_pid or pid
        self.arguments[pid] = arguments
        self.values[pid] = value
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

    def descendants(self, pid: int) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.descendants``."""
        below = _below(pid, self.parents)
        return tuple(self.running[each] for each in below if each in self.running)

    def holders(self, lock: Path) -> tuple[ProcessMark, ...]:
        """See ``ProcessTable.holders``."""
        del lock
        return tuple(self.running[pid] for pid in self.lock_holders if pid in self.running)

    def scan(self, variable: str) -> Iterator[Sighting]:
        """See ``ProcessTable.scan``."""
        del variable
        for pid, mark in list(self.running.items()):
            leads = self.leaders[pid] == pid
            yield Sighting(mark, self.arguments[pid], self.values[pid], leads)

    def _led_by(self, leader_pid: int) -> Iterator[ProcessMark]:
        return (mark for pid, mark in self.running.items() if self.leaders[pid] == leader_pid)
