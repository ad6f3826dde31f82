"""Starting a program as a child that leads its own session, behind a gate.

The child waits at the gate, before it becomes the program, until the parent has written down
who it is. If the parent dies first, the child ends too: a program that nobody knows of cannot
come to be. Only for processes with a single thread, since the child runs Python after ``fork``.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

_EXIT_NOT_STARTED = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start: the program (found through its own ``PATH``) and what it is given."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path
    # Descriptors: standard output and error go to the first, the others stay open as they are.
    output: int
    inherited: tuple[int, ...] = ()


class Program:
    """A child of this process, first at the gate, then running, then ended, then reaped."""

    def __init__(self, pid: int, gate: int, failure: int) -> None:
        self.pid = pid
        self._gate = gate
        self._failure = failure
        self._status: int | None = None

    def release(self) -> None:
        """Let the child become the program; raises ``OSError`` if the kernel refuses."""
        with suppress(BrokenPipeError):
            os.write(self._gate, b"1")
        said = os.read(self._failure, 16)  # ends at once: exec closes the other side
        self._close()
        if said:
            raise OSError(int(said), os.strerror(int(said)))

    def withdraw(self) -> None:
        """Let the child end at the gate."""
        self._close()

    def has_ended(self) -> bool:
        """Whether the program ended. It is not reaped, so its process id stays taken.

        macOS cannot look without reaping; there the id is free from here on.
        """
        if sys.platform == "darwin":
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = status if pid else None
            return pid != 0
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, options) is not None

    def signal_group(self, number: int) -> None:
        """Signal the program and all of its group; only before ``reap``."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def reap(self) -> int:
        """Wait for the end: the exit status, or the negative number of the signal that killed."""
        if self._status is None:
            _, self._status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(self._status)

    def _close(self) -> None:
        os.close(self._gate)
        os.close(self._failure)


def start_at_gate(launch: Launch) -> Program:
    """Fork a child that waits to become ``launch.command``."""
    gate_out, gate_in = os.pipe()
    failure_out, failure_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(gate_in)
        os.close(failure_out)
        _become(launch, gate_out, failure_in)
    os.close(gate_out)
    os.close(failure_in)
    return Program(pid, gate_in, failure_out)


def _become(launch: Launch, gate: int, failure: int) -> NoReturn:
    """In the child: prepare, wait at the gate, turn into the program; never returns."""
    try:
        _restore_signals()
        os.setsid()
        if os.read(gate, 1):
            _arrange(launch)
            # S606: no shell is wanted.
            os.execvpe(launch.command[0], launch.command, dict(launch.environment))  # noqa: S606
    except OSError as error:
        os.write(failure, str(error.errno or errno.EINVAL).encode())
    except BaseException:  # noqa: BLE001  # whatever it is, the copy of the parent must not go on
        os.write(failure, str(errno.EINVAL).encode())
    finally:
        os._exit(_EXIT_NOT_STARTED)


def _restore_signals() -> None:
    """Programs start with every signal at its default; exec resets handlers, but not these."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _arrange(launch: Launch) -> None:
    os.chdir(launch.directory)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (launch.output, 1), (launch.output, 2)):
        os.dup2(source, target)
    for handle in launch.inherited:
        os.set_inheritable(handle, True)
