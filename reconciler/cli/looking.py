"""The verbs that look and change nothing: ``status``, ``plan``, ``history`` and ``check``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from maculaos.host.clock import SystemClock
from reconciler.activity import Snapshot
from reconciler.assembly import (
    check_files,
    checker_of,
    compiler_of,
    load_settings,
    planner_of,
    source_of,
    store_of,
    verifier_of,
)
from reconciler.cli.speech import (
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
from reconciler.journal import Journal
from reconciler.names import spoken
from reconciler.preview import Preview, Site, preview
from reconciler.runtimes import expected_runtime, present_runtime
from reconciler.session import REFRESH_S
from reconciler.sources.worktree import read_work_tree
from reconciler.specs.desired import Refused
from reconciler.status import counted, short_revision
from reconciler.view import ago, render

if TYPE_CHECKING:
    from reconciler.generations import Generation
    from reconciler.settings import ReconcilerSettings

# Read at run time, unlike annotations that only types need.
WorkTree = Annotated[Path, typer.Argument(metavar="DIR", help="A work tree of specs.")]
RuntimeOf = Annotated[
    Path | None,
    typer.Option("--config", help="Check for the machine of these settings; name its runtime."),
]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (plan, status, history, check):
        app.command(epilog=EXIT_CODES)(verb)


def plan(
    config: Config = None,
    as_json: AsJson = False,
    revision: Annotated[
        str | None, typer.Option(help="A commit hash or branch, instead of the newest commit.")
    ] = None,
) -> None:
    """Print the steps that would be taken, and take none."""
    settings = load_settings(config)
    clock = SystemClock()
    source = source_of(settings, Journal(sys.stderr, clock))
    site = Site(
        source=source,
        verifier=verifier_of(settings, source),
        compiler=compiler_of(settings),
        planner=planner_of(settings, present_runtime(settings, clock), may_keep=False),
        store=store_of(settings),
        clock=clock,
    )
    with people.status("planning"):
        found = preview(site, revision)
    if as_json:
        print_json(found.as_json())
    else:
        _print_plan(found)
    if found.problems:
        say(list(found.problems))
        raise typer.Exit(NOT_AS_WANTED)


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
        print_json(snapshot.as_json())
    elif data.is_terminal:
        data.print(render(snapshot, SystemClock().now()))
    else:
        sys.stdout.write(snapshot.status.as_text())


def history(
    config: Config = None,
    as_json: AsJson = False,
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 20,
    steps: Annotated[
        bool, typer.Option("--steps", help="Also the steps that were taken, and the problems.")
    ] = False,
) -> None:
    """List what was attempted and what came of it, newest first."""
    generations = store_of(load_settings(config)).history()[::-1][:number]
    if as_json:
        print_json([generation.as_json() for generation in generations])
    elif generations and steps:
        _print_steps(generations)
    elif generations:
        data.print(_history_table(generations))
    else:
        say(["nothing was attempted yet"])


def check(
    folder: WorkTree,
    config: RuntimeOf = None,
) -> None:
    """Check specs before they are pushed; print every problem as file:line:column."""
    tree = read_work_tree(folder)
    if tree.problems:
        raise Refused(tree.problems)
    settings = None if config is None else load_settings(config)
    desired = checker_of(settings).compile(tree.files, tree.unreadable, tree.secrets)
    if problems := desired.all_problems():
        raise Refused(problems)
    data.print(
        f"{counted(len(desired.nodes), 'node')}, {counted(len(desired.apps), 'app')}: ok",
        markup=False,
    )
    if settings is not None:
        check_files(settings)
        say([expected_runtime(settings, SystemClock()).choice.why])


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


def _print_plan(found: Preview) -> None:
    if found.stale:
        say([found.stale, "planning with the commit that was fetched last"])
    commit = found.commit
    data.print(f"{short_revision(commit.revision)} {commit.subject}", markup=False)
    for step in found.steps:
        data.print(f"  {step.describe()}", markup=False)
    for jail, reason in found.blocked.items():
        data.print(f"  blocked {spoken(jail)}: {reason}", markup=False, style="red", soft_wrap=True)
    if not found.steps:
        is_less = found.blocked or found.problems
        data.print("  nothing else to do" if is_less else "  nothing to do")


def _print_steps(generations: tuple[Generation, ...]) -> None:
    for one in generations:
        tries = f", {one.attempts} attempts" if one.attempts > 1 else ""
        head = f"{short_revision(one.revision)} {one.outcome} in {one.duration_s:.2f} s{tries}"
        data.print(f"{head}: {one.subject}", markup=False, soft_wrap=True)
        for line in (*one.steps, *one.problems):
            data.print(f"  {line}", markup=False, soft_wrap=True)


def _history_table(generations: tuple[Generation, ...]) -> Table:
    columns = ("revision", "outcome", "when", "took", "attempts", "subject")
    table = Table(*columns, box=None, pad_edge=False)
    now = SystemClock().now()
    for one in generations:
        outcome = str(one.outcome)
        if one.problems:
            outcome += f" ({counted(len(one.problems), 'problem')})"
        when = f"{ago(now - one.finished_at)} ago"
        took = f"{one.duration_s:.2f} s"
        facts = (short_revision(one.revision), outcome, when, took, str(one.attempts))
        table.add_row(*facts, Text(one.subject))
    return table
