"""The verbs that make a reconciler work: ``run``, ``sync`` and ``down``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.files import AlreadyLocked
from reconciler.assembly import assemble, load_settings, log_file, store_of
from reconciler.cli.speech import (
    DONE,
    EXIT_CODES,
    NOT_AS_WANTED,
    AsJson,
    Config,
    data,
    people,
    print_json,
    say,
)
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.daemon import pass_once
from reconciler.generations import Outcome
from reconciler.halt import remove_all, remove_front
from reconciler.names import spoken
from reconciler.porter import Porter
from reconciler.runtimes import recorded_runtime
from reconciler.status import short_revision

if TYPE_CHECKING:
    from reconciler.settings import ReconcilerSettings

DOWN_DEADLINE_S: Final = 90.0


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (run, sync, down):
        app.command(epilog=EXIT_CODES)(verb)


def run(
    config: Config = None,
    live: Annotated[bool, typer.Option("--live", help="Show a live view on a terminal.")] = False,
    stop_jails_on_exit: Annotated[
        bool, typer.Option(help="Stop what runs here too; without it, it goes on.")
    ] = False,
    hint: Annotated[
        list[str] | None, typer.Option(help="A line for the foot of the live view; repeatable.")
    ] = None,
) -> None:
    """Reconcile in the foreground until SIGTERM or SIGINT."""
    # Loaded here only: no other verb has a view or listens, and they start sooner so.
    from reconciler.session import Manner, run_daemon

    manner = Manner(
        is_live=live and sys.stdout.isatty(),
        stops_jails=stop_jails_on_exit,
        hints=tuple(hint or ()),
        settings_file=config,
    )
    failures = asyncio.run(run_daemon(load_settings(config), manner))
    _end_with(failures)


def sync(
    config: Config = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Give up after this many seconds.")
    ] = 60.0,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for the outcome, or only ask for it.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Fetch now, wait until the tip is applied, refused or failed, and say which."""
    settings = load_settings(config)
    if not wait:
        request = {"do": "sync", "wait": False}
        asyncio.run(ask(settings.run_dir / SOCKET_NAME, request))
        return
    with people.status("reconciling"):
        answer = asyncio.run(_sync(settings, timeout))
    if as_json:
        print_json(answer)
    else:
        data.print(f"{answer['outcome']} {short_revision(answer['revision'])}", markup=False)
        say(answer["problems"])
    raise typer.Exit(DONE if answer["outcome"] == Outcome.APPLIED else NOT_AS_WANTED)


def down(config: Config = None) -> None:
    """Stop a running reconciler, then stop and delete every jail of it; works after a crash."""
    settings = load_settings(config)
    with people.status("stopping everything"):
        failures = asyncio.run(_down(settings))
    _end_with(failures)


async def _sync(settings: ReconcilerSettings, timeout_s: float) -> dict[str, Any]:
    request = {"do": "sync", "timeout_s": timeout_s}
    try:
        return await ask(settings.run_dir / SOCKET_NAME, request, timeout_s)
    except NoReconciler:
        with store_of(settings).locked(), log_file(settings) as lines:
            worker = assemble(settings, lines)
            try:
                async with asyncio.timeout(timeout_s):
                    return await pass_once(worker)
            except TimeoutError:
                raise UsageError(f"not done within {timeout_s:g} s", "give --timeout") from None
            finally:
                worker.tools.source.abort()


async def _down(settings: ReconcilerSettings) -> dict[str, str]:
    clock = SystemClock()
    deadline = clock.monotonic() + DOWN_DEADLINE_S
    while True:
        # Nobody answers if none runs, if it just starts, or if it is about to end.
        with suppress(NoReconciler):
            await ask(settings.run_dir / SOCKET_NAME, {"do": "stop"})
        try:
            with store_of(settings).locked():
                failures = await remove_all(recorded_runtime(settings, clock), settings.run_dir)
                return {**failures, **await remove_front(Porter(settings, clock))}
        except AlreadyLocked:
            if clock.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def _end_with(failures: dict[str, str]) -> None:
    say([f"{spoken(jail)}: {reason}" for jail, reason in failures.items()])
    if failures:
        raise typer.Exit(NOT_AS_WANTED)
