"""Adopting orphans: whoever loses its parent below this process gets it as its new parent.

So everything that a child of this process ever starts stays below it, whichever session or group
it went to, and can be found by parentage alone (``ProcessTable.descendants``). Linux calls this a
child subreaper (``prctl(2)``), FreeBSD a reaper (``procctl(2)``); macOS has nothing like it. The
FreeBSD call is written after its manual page; the tests run it on no such machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_P_PID = 0  # sys/wait.h of FreeBSD
_PROC_REAP_ACQUIRE = 2  # sys/procctl.h


def adopt_orphans() -> bool:
    """Become the parent of all orphans below this process; whether the system can do that."""
    # As plain text, so that the type checker reads the branches of every system.
    platform: str = sys.platform
    system = ctypes.CDLL(None)
    if platform == "linux":
        return bool(system.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    if platform.startswith("freebsd"):
        # idtype_t, id_t (64 bits), int, void *
        system.procctl.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
        return bool(system.procctl(_P_PID, os.getpid(), _PROC_REAP_ACQUIRE, None) == 0)
    return False


def reap_adopted(own: int | None, at_most: int) -> None:
    """Let go of up to ``at_most`` children that ended, but not of ``own``.

    ``own`` is the child whose end its starter waits for; while it is not reaped, nobody else can
    get its process id, nor that of its group.
    """
    if sys.platform == "darwin":
        return
    for _ in range(at_most):
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if ended is None:
            return
        if ended.si_pid == own:  # it would be shown again and again: look behind it
            for pid in _children(own)[:at_most]:
                os.waitpid(pid, os.WNOHANG)
            return
        os.waitpid(ended.si_pid, os.WNOHANG)


def kill_adopted(own: int | None, rounds: int) -> None:
    """Kill all children but ``own``, as often as ``rounds`` says, as quickly as can be.

    For those that fork and end in no time, so that a signal after a look at their parentage comes
    too late. A child that was not reaped keeps its id, so nobody else is hit. Does nothing where
    there is no list of processes in /proc.
    """
    for _ in range(rounds):
        children = _children(own)
        if not children:
            return
        for pid in children:
            with suppress(PermissionError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)


def has_adopted(own: int | None) -> bool:
    """Whether this process had a child besides ``own`` just now; those that ended are let go.

    If not, nobody at all lives below it: whoever did would be below a child, and a child stays in
    the list until it is reaped. No look at parentage can tell, while those that are looked at
    fork and end. False where there is no list of processes in /proc.
    """
    children = _children(own)
    for pid in children:
        os.waitpid(pid, os.WNOHANG)
    return bool(children)


def _children(own: int | None) -> list[int]:
    """Children of this process besides ``own``; those that ended and were not reaped, too."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
    return [pid for pid in pids if pid != own and _is_child(pid)]


def _is_child(pid: int) -> bool:
    """Asking the kernel this way takes a microsecond; reading its parent takes twenty."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
