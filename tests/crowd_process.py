"""``python crowd_process.py FOLDER NAME...``: the nodes of these names, all in this process.

Says ``loaded`` when it could start them, waits for a line, and starts them. Every node is a whole
``Daemon`` with sockets of its own; FOLDER/NAME.yaml configures it, FOLDER/NAME.log is its log. The
process ends by a signal only.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack
from pathlib import Path

from maculaos.daemon import Daemon
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import LibraryHandler, Logbook


async def run(folder: Path, names: list[str]) -> None:
    """Run the nodes until the first of them ends."""
    clock = SystemClock()
    with ExitStack() as open_files:
        async with asyncio.TaskGroup() as tasks:
            for name in names:
                log = open_files.enter_context((folder / f"{name}.log").open("a"))
                config = folder / f"{name}.yaml"
                logbook = Logbook(log, clock)
                # What libraries say is nobody's in particular: the first node writes it down.
                logging.basicConfig(handlers=[LibraryHandler(logbook)], level=logging.INFO)
                tasks.create_task(Daemon(config, logbook, clock, SystemEntropy()).run())


def main() -> None:
    """Load, wait for the word, run."""
    sys.stdout.write("loaded\n")
    sys.stdout.flush()
    sys.stdin.readline()
    asyncio.run(run(Path(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
