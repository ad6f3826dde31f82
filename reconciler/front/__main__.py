"""``python -m reconciler.front``: forward connections until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from maculaos.host.clock import SystemClock
from reconciler.front.control import answering
from reconciler.front.server import Duties, Front

# Files that are no connections: the loop, sockets that listen, the files of traffic.
_SPARE: Final = 256


def main() -> int:
    """Run a front; the exit status is 1 if its control socket cannot be had."""
    words = _parser().parse_args()
    duties = Duties(
        traffic=words.traffic,
        listen=words.listen,
        connections=_affordable(words.connections),
        idle_s=words.idle_s,
        is_privileged=words.privileged,
    )
    try:
        asyncio.run(_run(duties, words.control))
    except OSError as error:
        sys.stderr.write(f"{words.control}: {error.strerror or error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reconciler.front", allow_abbrev=False)
    parser.add_argument("--traffic", type=Path, required=True, help="folder of traffic files")
    parser.add_argument("--control", type=Path, required=True, help="socket to answer on")
    parser.add_argument("--listen", required=True, help="address to listen at")
    parser.add_argument("--connections", type=int, required=True, help="how many at once")
    parser.add_argument("--idle-s", type=float, required=True, help="end what is silent so long")
    parser.add_argument("--privileged", action="store_true", help="ports below 1024, too")
    return parser


def _affordable(connections: int) -> int:
    """At most so many as there can be open files for: two for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _SPARE
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    available = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(connections, (available - _SPARE) // 2))


async def _run(duties: Duties, control: Path) -> None:
    front = Front(duties, SystemClock())
    working = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if working is not None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, working.cancel)
    with suppress(asyncio.CancelledError):
        async with answering(control, front):
            await front.run()


if __name__ == "__main__":
    raise SystemExit(main())
