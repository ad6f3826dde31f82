"""One run of the daemon in the foreground: lock, signals, log or live view, and a clean end."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

from maculaos.host.logbook import Level
from reconciler.assembly import assemble, log_file, store_of
from reconciler.daemon import Daemon
from reconciler.halt import stop_all, stop_front
from reconciler.view import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.host.logbook import Lines
    from reconciler.settings import ReconcilerSettings
    from reconciler.worker import Worker

REFRESH_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to run: with a live view instead of log lines, and what to leave behind."""

    is_live: bool = False
    stops_jails: bool = False
    hints: tuple[str, ...] = ()
    # Followed for changes of the listeners.
    settings_file: Path | None = None


async def run_daemon(settings: ReconcilerSettings, manner: Manner) -> dict[str, str]:
    """Reconcile until SIGTERM or SIGINT; return by jail why one could not be stopped.

    Raises ``UsageError`` if another reconciler runs here. With a live view the log goes to
    ``state_dir/reconciler.log``.
    """
    store = store_of(settings)
    with store.locked(), _log(settings, manner) as lines:
        worker = assemble(settings, lines)
        daemon = Daemon(worker, manner.settings_file)
        _stop_on_signals(daemon, manner)
        await _run(daemon, worker, manner)
        if not manner.stops_jails:
            return {}
        return await _stop_jails(worker, manner)


async def _stop_jails(worker: Worker, manner: Manner) -> dict[str, str]:
    worker.tools.journal.note("stopping_all", "stopping everything")
    with ExitStack() as shown:
        # The terminal may be what went away.
        if manner.is_live and sys.stderr.isatty():
            shown.enter_context(Console(stderr=True).status("stopping everything"))
        failures = await stop_all(worker.tools.runtime)
        failures |= await stop_front(worker.tools.planner.porter)
    for jail, reason in failures.items():
        worker.tools.journal.note("cannot_stop", "", Level.ERROR, jail=jail, reason=reason)
    return failures


async def _run(daemon: Daemon, worker: Worker, manner: Manner) -> None:
    if not manner.is_live:
        await daemon.run()
        return
    showing = asyncio.create_task(_show(worker, manner.hints))
    try:
        await daemon.run()
    finally:
        showing.cancel()
        # Nobody can be shown anything on a terminal that was closed.
        with suppress(asyncio.CancelledError, OSError):
            await showing


async def _show(worker: Worker, hints: tuple[str, ...]) -> None:
    # Refreshed from this loop: a thread of rich's own would read what is being changed.
    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False) as view:
        while True:
            now = worker.tools.clock.now()
            view.update(render(worker.snapshot(), now, hints, console.height), refresh=True)
            await asyncio.sleep(REFRESH_S)


@contextmanager
def _log(settings: ReconcilerSettings, manner: Manner) -> Iterator[Lines]:
    if not manner.is_live:
        yield sys.stderr
        return
    with log_file(settings) as file:
        yield file


def _stop_on_signals(daemon: Daemon, manner: Manner) -> None:
    loop = asyncio.get_running_loop()
    # A live view belongs to its terminal: closing that ends it like Ctrl-C does.
    hangup = (signal.SIGHUP,) if manner.is_live else ()
    for number in (signal.SIGTERM, signal.SIGINT, *hangup):
        loop.add_signal_handler(number, daemon.stop)
