"""One node of a load test, in a process of its own, that does not outlive the test.

``python -m maculaos.loadtest.member CONFIG HANDLE``: ``macula start``, but it also stops when the
other end of the pipe HANDLE is gone, however the tester ended.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from maculaos.daemon import Daemon
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import LibraryHandler, Logbook


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


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
