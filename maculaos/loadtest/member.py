"""One node of a load test, in a process of its own, that does not outlive the test.

``python -m maculaos.loadtest.member CONFIG HANDLE``: ``macula start``, but it also stops when the
other end of the pipe HANDLE is gone, however the tester ended. A node that is paused (SIGSTOP) does
not see that, so where the system can, it kills the node when its parent ends: Linux (``prctl(2)``)
and FreeBSD (``procctl(2)``); macOS has nothing like it. The FreeBSD call is written after its
manual page; the tests run it on no such machine.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import sys
from pathlib import Path
from typing import Final

from maculaos.daemon import Daemon
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import LibraryHandler, Logbook

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_P_PID: Final = 0  # sys/wait.h of FreeBSD
_PROC_PDEATHSIG_CTL: Final = 11  # sys/procctl.h


async def run(config: Path, handle: int) -> None:
    """Run the node until a signal, a client or the end of the tester stops it."""
    clock = SystemClock()
    logbook = Logbook(sys.stderr, clock)
    logging.basicConfig(handlers=[LibraryHandler(logbook)], level=logging.INFO)
    daemon = Daemon(config, logbook, clock, SystemEntropy())
    loop = asyncio.get_running_loop()

    def tester_gone() -> None:
        loop.remove_reader(handle)
        daemon.stop("the load test is over")

    loop.add_reader(handle, tester_gone)
    await daemon.run()


def _die_with_parent() -> None:
    """Let the system kill this process when its parent ends; nothing where it cannot."""
    # As plain text, so that the type checker reads the branches of every system.
    platform: str = sys.platform
    system = ctypes.CDLL(None)
    if platform == "linux":
        system.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    elif platform.startswith("freebsd"):
        # idtype_t, id_t (64 bits), int, void *; id 0 is this process.
        system.procctl.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p)
        number = ctypes.c_int(signal.SIGKILL)
        system.procctl(_P_PID, 0, _PROC_PDEATHSIG_CTL, ctypes.byref(number))


if __name__ == "__main__":
    # Before the pipe is looked at: a tester that ended earlier is seen there.
    _die_with_parent()
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
