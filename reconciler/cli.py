"""The ``reconciler`` command: a verb per function; data on stdout, words for people on stderr."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jails.runtime import JailError
from maculaos.documents import InvalidDocument
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.files import AlreadyLocked
from reconciler.activity import Snapshot
from reconciler.assembly import assemble, load_settings, source_of, store_of
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.daemon import pass_once
from reconciler.desired import Refused, compile_tree
from reconciler.generations import Generation, Outcome
from reconciler.halt import remove_all
from reconciler.journal import Journal
from reconciler.names import spoken
from reconciler.preview import Preview, Site, preview
from reconciler.runtimes import expected_runtime, present_runtime, recorded_runtime
from reconciler.session import REFRESH_S, Manner, log_file, run_daemon
from reconciler.status import counted, short_revision
from reconciler.unreachable import SourceUnreachable
from reconciler.view import ago, render
from reconciler.worktree import read_work_tree

if TYPE_CHECKING:
    from reconciler.settings import ReconcilerSettings

DONE: Final = 0
NOT_AS_WANTED: Final = 1
WRONG_USE: Final = 2
DOWN_DEADLINE_S: Final = 90.0

_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 refused, failed, unreachable or not as wanted; "
    "2 wrong use: options, settings, another reconciler runs, or none."
)

app = typer.Typer(
    help=f"Make this machine match a Git repository.\n\n{_EXIT_CODES}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
people = Console(stderr=True, highlight=False, soft_wrap=True)
data = Console(highlight=False)

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="RECONCILER_CONFIG", help="The settings file.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(epilog=_EXIT_CODES)
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
    manner = Manner(
        is_live=live and sys.stdout.isatty(),
        stops_jails=stop_jails_on_exit,
        hints=tuple(hint or ()),
    )
    failures = asyncio.run(run_daemon(load_settings(config), manner))
    _end_with(failures)


@app.command(epilog=_EXIT_CODES)
def sync(
    config: Config = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Give up after this many seconds.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Fetch now, wait until the tip is applied, refused or failed, and say which."""
    settings = load_settings(config)
    with people.status("reconciling"):
        answer = asyncio.run(_sync(settings, timeout))
    if as_json:
        _print_json(answer)
    else:
        data.print(f"{answer['outcome']} {short_revision(answer['revision'])}", markup=False)
        _say(answer["problems"])
    raise typer.Exit(DONE if answer["outcome"] == Outcome.APPLIED else NOT_AS_WANTED)


@app.command(epilog=_EXIT_CODES)
def plan(
    config: Config = None,
    as_json: AsJson = False,
    revision: Annotated[
        str | None, typer.Option(help="A commit hash or branch, instead of the newest commit.")
    ] = None,
) -> None:
    """Print the steps that would be taken, and take none."""
    settings = load_settings(config)
    site = Site(
        settings=settings,
        runtime=present_runtime(settings, SystemClock()),
        source=source_of(settings, Journal(sys.stderr, SystemClock())),
        store=store_of(settings),
    )
    with people.status("planning"):
        found = preview(site, revision)
    if as_json:
        _print_json(found.as_json())
    else:
        _print_plan(found)


@app.command(epilog=_EXIT_CODES)
def status(
    config: Config = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it live, until Ctrl-C.")] = False,
) -> None:
    """Say how things stand."""
    settings = load_settings(config)
    if watch and data.is_terminal:
        asyncio.run(_watch(settings))
        return
    snapshot, is_running = asyncio.run(_snapshot(settings))
    if not is_running:
        people.print("reconciler: none runs here; this is how it stood last", markup=False)
    if as_json:
        _print_json(snapshot.as_json())
    elif data.is_terminal:
        data.print(render(snapshot, SystemClock().now()))
    else:
        sys.stdout.write(snapshot.status.as_text())


@app.command(epilog=_EXIT_CODES)
def history(
    config: Config = None,
    as_json: AsJson = False,
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 20,
) -> None:
    """List what was attempted and what came of it, newest first."""
    generations = store_of(load_settings(config)).history()[::-1][:number]
    if as_json:
        _print_json([generation.as_json() for generation in generations])
    elif generations:
        data.print(_history_table(generations))
    else:
        _say(["nothing was attempted yet"])


@app.command(epilog=_EXIT_CODES)
def down(config: Config = None) -> None:
    """Stop a running reconciler, then stop and delete every jail of it; works after a crash."""
    settings = load_settings(config)
    with people.status("stopping everything"):
        failures = asyncio.run(_down(settings))
    _end_with(failures)


@app.command(epilog=_EXIT_CODES)
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A work tree of specs.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Also say which runtime these settings give here."),
    ] = None,
) -> None:
    """Check specs before they are pushed; print every problem as file:line:column."""
    tree = read_work_tree(folder)
    if tree.problems:
        raise Refused(tree.problems)
    desired = compile_tree(tree.files)
    data.print(
        f"{counted(len(desired.nodes), 'node')}, {counted(len(desired.apps), 'app')}: ok",
        markup=False,
    )
    if config is not None:
        _say([expected_runtime(load_settings(config), SystemClock()).choice.why])


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


async def _snapshot(settings: ReconcilerSettings) -> tuple[Snapshot, bool]:
    """How things stand, and whether a running reconciler says so."""
    try:
        return Snapshot.from_json(await ask(settings.run_dir / SOCKET_NAME, {"do": "status"})), True
    except NoReconciler:
        last = store_of(settings).snapshot()
        if last is None:
            raise
        return last, False


async def _watch(settings: ReconcilerSettings) -> None:
    snapshot, _ = await _snapshot(settings)
    clock = SystemClock()
    with Live(console=data, auto_refresh=False, screen=False) as view:
        while True:
            view.update(render(snapshot, clock.now(), lines=data.height), refresh=True)
            await asyncio.sleep(REFRESH_S)
            snapshot, _ = await _snapshot(settings)


async def _down(settings: ReconcilerSettings) -> dict[str, str]:
    clock = SystemClock()
    deadline = clock.monotonic() + DOWN_DEADLINE_S
    while True:
        # Nobody answers if none runs, if it just starts, or if it is about to end.
        with suppress(NoReconciler):
            await ask(settings.run_dir / SOCKET_NAME, {"do": "stop"})
        try:
            with store_of(settings).locked():
                return await remove_all(recorded_runtime(settings, clock), settings.run_dir)
        except AlreadyLocked:
            if clock.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


def _end_with(failures: dict[str, str]) -> None:
    _say([f"{spoken(jail)}: {reason}" for jail, reason in failures.items()])
    if failures:
        raise typer.Exit(NOT_AS_WANTED)


def _print_plan(found: Preview) -> None:
    if found.stale:
        _say([found.stale, "planning with the commit that was fetched last"])
    commit = found.commit
    data.print(f"{short_revision(commit.revision)} {commit.subject}", markup=False)
    for step in found.steps:
        data.print(f"  {step.describe()}", markup=False)
    for jail, reason in found.blocked.items():
        data.print(f"  blocked {spoken(jail)}: {reason}", markup=False, style="red", soft_wrap=True)
    if not found.steps:
        data.print("  nothing else to do" if found.blocked else "  nothing to do")


def _history_table(generations: tuple[Generation, ...]) -> Table:
    table = Table("revision", "outcome", "when", "took", "subject", box=None, pad_edge=False)
    now = SystemClock().now()
    for one in generations:
        outcome = str(one.outcome)
        if one.problems:
            outcome += f" ({counted(len(one.problems), 'problem')})"
        when = f"{ago(now - one.finished_at)} ago"
        took = f"{one.duration_s:.2f} s"
        table.add_row(short_revision(one.revision), outcome, when, took, Text(one.subject))
    return table


def _print_json(said: Any) -> None:
    sys.stdout.write(json.dumps(said, indent=2) + "\n")


def _say(lines: list[str]) -> None:
    for line in lines:
        people.print(f"reconciler: {line}", markup=False)


def main() -> None:
    """Run one verb; what people can mend becomes one line each, never a traceback."""
    try:
        app()
    except (Refused, InvalidDocument) as error:
        _say([str(problem) for problem in error.problems])
        sys.exit(NOT_AS_WANTED if isinstance(error, Refused) else WRONG_USE)
    except (MaculaError, JailError) as error:
        _say([str(error)])
        is_wrong_use = isinstance(error, UsageError) and not isinstance(error, SourceUnreachable)
        sys.exit(WRONG_USE if is_wrong_use else NOT_AS_WANTED)
    except OSError as error:
        _say([f"{error.filename or 'the system'}: {error.strerror or error}"])
        sys.exit(NOT_AS_WANTED)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
