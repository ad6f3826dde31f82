"""The verbs that ask why, and whether all is well: ``explain``, ``doctor`` and their kin."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from maculaos.documents import InvalidDocument
from maculaos.errors import UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from reconciler.assembly import load_settings, source_of, store_of
from reconciler.cli.speech import (
    DONE,
    EXIT_CODES,
    NOT_AS_WANTED,
    AsJson,
    Config,
    data,
    print_json,
    say,
)
from reconciler.control import SOCKET_NAME, NoReconciler, ask
from reconciler.doctor import Finding, Verdict, is_well
from reconciler.events import about
from reconciler.examination import Examination
from reconciler.explain import Evidence, Explanation, Origin, find_item
from reconciler.explain import explain as explained
from reconciler.journal import Journal
from reconciler.runtimes import expected_runtime
from reconciler.view import ago

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.events import Event
    from reconciler.settings import ReconcilerSettings

Item = Annotated[str, typer.Argument(metavar="ITEM", help="Such as node/n1, or only n1.")]


_STYLES: Final = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (explain, doctor, events, metrics):
        app.command(epilog=EXIT_CODES)(verb)


def explain(item: Item, config: Config = None, as_json: AsJson = False) -> None:
    """Say why a node or app is as it is, and what would mend it."""
    found = _explanation(load_settings(config), item)
    if as_json:
        print_json(found.as_json())
    else:
        sys.stdout.write(found.as_text())


def doctor(config: Config = None, as_json: AsJson = False) -> None:
    """Check this machine for what keeps a reconciler from its work; changes nothing."""
    findings = list(_findings(config))
    if as_json:
        said = [finding.as_json() for finding in findings]
        print_json({"well": is_well(findings), "checks": said})
    else:
        for one in findings:
            data.print(Text(f"{one.verdict:<4}", style=_STYLES[one.verdict]), end=" ")
            data.print(f"{one.check}: {one.said}", markup=False, soft_wrap=True)
            if one.fix:
                data.print(f"     next: {one.fix}", markup=False, soft_wrap=True)
    raise typer.Exit(DONE if is_well(findings) else NOT_AS_WANTED)


def events(
    config: Config = None,
    as_json: AsJson = False,
    item: Annotated[str, typer.Option(help="Only those of this item, such as node/n1.")] = "",
    number: Annotated[int, typer.Option("-n", min=1, help="At most this many, the last.")] = 50,
) -> None:
    """List what happened, newest last; the same thing again is counted."""
    found = store_of(load_settings(config)).events()
    found = (about(found, item) if item else found)[-number:]
    if as_json:
        print_json([event.as_json() for event in found])
    elif found:
        data.print(_event_table(found))
    else:
        say(["nothing happened yet"])


def metrics(config: Config = None) -> None:
    """Print the metrics as Prometheus reads them, as they were written last."""
    text = store_of(load_settings(config)).metrics()
    if not text:
        raise UsageError("there are no metrics yet", "start one: reconciler run")
    sys.stdout.write(text)


def _explanation(settings: ReconcilerSettings, named: str) -> Explanation:
    """What the running reconciler says; else what follows from the last one's files."""
    request = {"do": "explain", "item": named}
    try:
        return Explanation.from_json(asyncio.run(ask(settings.run_dir / SOCKET_NAME, request)))
    except NoReconciler:
        store = store_of(settings)
        snapshot = store.snapshot()
        if snapshot is None:
            raise
    say(["none runs here; this is how it stood last"])
    item = find_item(snapshot.status, named)
    revision = snapshot.status.revisions.attempted or ""
    evidence = Evidence(origin=Origin(revision=revision), events=about(store.events(), item.key))
    return explained(snapshot.status, item, evidence)


def _findings(config: Path | None) -> Iterator[Finding]:
    try:
        settings = load_settings(config)
    except InvalidDocument as error:
        said = "; ".join(str(problem) for problem in error.problems)
        yield Finding("settings", Verdict.FAIL, said, "mend the settings file")
        return
    except UsageError as error:
        yield Finding("settings", Verdict.FAIL, error.what, error.hint)
        return
    yield Finding("settings", Verdict.OK, str(config))
    clock, store = SystemClock(), store_of(settings)
    source = source_of(settings, Journal(sys.stderr, clock))
    examination = Examination(settings, store, source, SystemRunner(), clock)
    try:
        yield from examination.findings(lambda: expected_runtime(settings, clock).choice.why)
    finally:
        source.abort()


def _event_table(found: tuple[Event, ...]) -> Table:
    table = Table("last", "times", "level", "item", "what", box=None, pad_edge=False)
    now = SystemClock().now()
    for one in found:
        when = f"{ago(now - one.last_at)} ago"
        table.add_row(when, str(one.count), one.level, one.item or "-", Text(one.text))
    return table
