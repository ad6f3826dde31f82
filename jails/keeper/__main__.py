"""``python -m jails.keeper DIRECTORY LAUNCH``: leave the caller's session and keep one jail.

The caller's child only waits until the keeper proper, its own child, has news: then it says it
in one line on standard error and ends with one of the statuses below. The keeper proper
belongs to nobody's terminal and is nobody's child, so it neither dies nor lingers with them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

from jails.keeper.records import JailDirectory
from jails.keeper.supervisor import STARTED, Supervisor
from maculaos.host.clock import SystemClock
from maculaos.host.files import AlreadyLocked
from maculaos.host.locks import take_lock
from maculaos.host.processes import system_processes

EXIT_STARTED: Final = 0
EXIT_BROKEN: Final = 1  # the keeper itself failed
EXIT_USAGE: Final = 2
EXIT_ENDED: Final = 3  # the program ended before it had settled; the policy says what follows
EXIT_REFUSED: Final = 4  # another keeper has the lock, or the launch was called off meanwhile


class Teller:
    """The line to the waiting caller; it can be used once, and may be dead."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def say(self, status: int, what: str) -> None:
        """Say it and hang up; later calls do nothing."""
        if self._handle is None:
            return
        try:
            os.write(self._handle, f"{status} {what}".encode()[:4096])
        except BrokenPipeError:
            pass  # the caller was killed; the keeper does its work all the same
        finally:
            os.close(self._handle)
            self._handle = None

    def tell(self, news: str) -> None:
        """News from the supervisor: ``STARTED``, or how the program ended."""
        self.say(EXIT_STARTED if news == STARTED else EXIT_ENDED, news)


def main() -> int:
    """Launch a keeper; return the exit status for the caller."""
    if len(sys.argv) != 3 or not sys.argv[2].isdigit():
        print("usage: python -m jails.keeper DIRECTORY LAUNCH", file=sys.stderr)  # noqa: T201  # an entry
        return EXIT_USAGE
    directory = JailDirectory(Path(sys.argv[1]).absolute())
    news_out, news_in = os.pipe()
    if os.fork():
        os.close(news_in)
        return _wait_for_news(news_out)
    os.close(news_out)
    _detach()
    _keep(directory, int(sys.argv[2]), Teller(news_in))
    return EXIT_STARTED


def _wait_for_news(handle: int) -> int:
    with os.fdopen(handle, "rb") as pipe:
        status, _, what = pipe.read(4096).decode(errors="replace").partition(" ")
    print(what or "the keeper was killed while it started", file=sys.stderr)  # noqa: T201  # an entry
    return int(status) if status else EXIT_BROKEN


def _detach() -> None:
    """A session, signals, files and folder of our own, with nothing of the caller's left."""
    os.setsid()
    os.chdir("/")
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
    os.close(nothing)


def _keep(directory: JailDirectory, launch: int, teller: Teller) -> None:
    """Take the lock first and then look whether the launch still stands: see ``Assignment``."""
    try:
        lock = take_lock(directory.lock)
        assignment = directory.assignment()
        if assignment is None or assignment.launch != launch:
            teller.say(EXIT_REFUSED, "the launch was called off")
            return
        machine = (SystemClock(), system_processes())
        Supervisor(directory, assignment, lock, machine, teller.tell).run()
    except (AlreadyLocked, FileNotFoundError) as error:
        teller.say(EXIT_REFUSED, str(error))
    except Exception as error:
        teller.say(EXIT_BROKEN, f"{type(error).__name__}: {error}")
        raise


if __name__ == "__main__":
    raise SystemExit(main())
