"""``macula loadtest``: events at a chosen pace, with faults, and what came of them."""

from __future__ import annotations

import asyncio
import os
import platform
import random
import shlex
import sys
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.live import Live

from maculaos import __version__
from maculaos.cli.ending import ending_on_signals
from maculaos.cli.loadview import progress, summary
from maculaos.cli.mesh import JsonOption, print_json
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.files import write_atomically
from maculaos.loadtest.faults import read_fault
from maculaos.loadtest.report import Provenance, report_of
from maculaos.loadtest.run import Run
from maculaos.loadtest.scenario import Scenario
from maculaos.loadtest.site import Standing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from maculaos.host.clock import Clock
    from maculaos.loadtest.outcome import Outcome
    from maculaos.loadtest.site import Site

Nodes = Annotated[int, typer.Option("--nodes", "-n", help="So many nodes are started.")]
At = Annotated[
    list[Path] | None, typer.Option(help="Or: the control socket of a node that runs; repeat it.")
]
Virtual = Annotated[
    bool, typer.Option("--virtual", help="Or: nodes in one thread and in virtual time.")
]
Latency = Annotated[
    float, typer.Option(min=0.001, max=10_000, help="Of a virtual path, one way, in ms.")
]
Publishers = Annotated[int, typer.Option(help="At the first nodes, in turn.")]
Subscribers = Annotated[int, typer.Option(help="At the last nodes, in turn.")]
Topics = Annotated[int, typer.Option(help="Programs are dealt out to topics in turn.")]
Rate = Annotated[float, typer.Option(help="Events per second in all; 0: as quickly as it goes.")]
Size = Annotated[int, typer.Option(help="Bytes of each event.")]
Duration = Annotated[float, typer.Option(help="Seconds.")]
Warmup = Annotated[float, typer.Option(help="Seconds before, which do not count.")]
Acknowledge = Annotated[
    bool, typer.Option("--acknowledge", help="At least once instead of at most once.")
]
Faults = Annotated[
    list[str] | None,
    typer.Option(help="kill:n2@5, kill:n2@5+3, pause:n2@5+2, loss:n2:10%@5+3; repeat it."),
]
Seed = Annotated[
    int, typer.Option(help="Of what is drawn at random: payloads, losses, a whole virtual run.")
]
Report = Annotated[Path | None, typer.Option(help="Write charts and figures to this HTML file.")]

_LOOK_S: Final = 0.25
# Virtual seconds between two looks.
_STEP_S: Final = 0.1


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(loadtest)


def loadtest(  # noqa: PLR0913  # typer takes one parameter per option
    nodes: Nodes = 2,
    at: At = None,
    virtual: Virtual = False,
    latency: Latency = 1.0,
    publishers: Publishers = 1,
    subscribers: Subscribers = 1,
    topics: Topics = 1,
    rate: Rate = 1000.0,
    size: Size = 100,
    duration: Duration = 10.0,
    warmup: Warmup = 1.0,
    acknowledge: Acknowledge = False,
    fault: Faults = None,
    seed: Seed = 1,
    report: Report = None,
    as_json: JsonOption = False,
) -> None:
    """Publish, deliver and break things; tell how long it took and what got lost."""
    scenario = Scenario(
        nodes=len(at) if at else nodes,
        publishers=publishers,
        subscribers=subscribers,
        topics=topics,
        rate=rate,
        size=size,
        duration_s=duration,
        warmup_s=warmup,
        acknowledge=acknowledge,
        faults=tuple(map(read_fault, fault or ())),
        seed=seed,
    )
    if at and scenario.faults:
        raise UsageError("nothing is done to nodes that ran before", "leave out --at or --fault")
    if at and virtual:
        raise UsageError("nodes that run are not virtual", "leave out --at or --virtual")
    provenance = _provenance()
    if report is not None:
        # Before the work: a report that cannot be written should not cost a run.
        _try(report)
    people = Console(stderr=True, highlight=False, soft_wrap=True)
    people.print(scenario.in_words())
    if virtual:
        outcome, fallen = _rehearse(scenario, latency / 1000, people), list[str]()
    else:
        outcome, fallen = asyncio.run(_perform(scenario, tuple(at or ()), people))
    # Before the report, which may fail yet: a run takes its time.
    _tell(outcome, provenance, as_json=as_json)
    _conclude(outcome, fallen, provenance, report)


def _rehearse(scenario: Scenario, latency_s: float, people: Console) -> Outcome:
    # Here, because whole nodes take their time to load.
    from maculaos.loadtest.rehearsal import Rehearsal

    rehearsal = Rehearsal(scenario, latency_s, _rng(scenario))
    with Live(console=people, auto_refresh=False, transient=True) as live:
        while not rehearsal.step(_STEP_S):
            if people.is_terminal:
                live.update(progress(rehearsal), refresh=True)
    return rehearsal.outcome()


async def _perform(
    scenario: Scenario, sockets: tuple[Path, ...], people: Console
) -> tuple[Outcome, list[str]]:
    """What came of it, and in words which nodes ended by themselves."""
    clock, rng = SystemClock(), _rng(scenario)
    async with ending_on_signals(), _site(scenario, sockets, clock) as site:
        run = Run(scenario, site, clock, rng, _number())
        watching = asyncio.create_task(_watch(run, people, clock))
        try:
            return await run.perform(), _fallen(site)
        except MaculaError as error:
            if fallen := _fallen(site):
                raise MaculaError("; ".join((str(error), *fallen))) from error
            raise
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


def _fallen(site: Site) -> list[str]:
    return [f"{name} ended by itself: {what}" for name, what in site.fallen().items()]


def _number() -> int:
    """A number of a run's own, above 0 and of 32 bits: two of one seed may meet in one mesh."""
    return 1 + int.from_bytes(SystemEntropy().draw(4)) % (2**32 - 1)


@asynccontextmanager
async def _site(scenario: Scenario, sockets: tuple[Path, ...], clock: Clock) -> AsyncIterator[Site]:
    if sockets:
        yield Standing(sockets)
        return
    # Here, because keys and certificates take their time to load.
    from maculaos.loadtest.fleet import fleet

    async with fleet(scenario, clock) as started:
        yield started


async def _watch(run: Run, people: Console, clock: Clock) -> None:
    """Show how it is doing, where somebody can see it, until cancelled."""
    if not people.is_terminal:
        return
    # No thread of its own: nodes are forked from this process.
    with Live(console=people, auto_refresh=False, transient=True) as live:
        while True:
            live.update(progress(run), refresh=True)
            await clock.wait(_LOOK_S)


def _tell(outcome: Outcome, provenance: Provenance, *, as_json: bool) -> None:
    if as_json:
        made = {"command": provenance.command, "versions": dict(provenance.versions)}
        print_json({**made, "machine": provenance.machine, **outcome.to_dict()})
    else:
        Console(highlight=False).print(summary(outcome))


def _conclude(
    outcome: Outcome, fallen: list[str], provenance: Provenance, report: Path | None
) -> None:
    """Write the report, then raise ``MaculaError`` for what nobody may overlook."""
    failures = [*fallen]
    if not outcome.keeps_its_word:
        broken = outcome.counts.lost - outcome.counts.away
        what = f"{broken} acknowledged deliveries were lost, with their subscriber there"
        failures.append(what)
    try:
        if report is not None:
            _write(report, report_of(outcome, provenance))
    except UsageError as error:
        if not failures:
            raise
        failures.append(str(error))
    if failures:
        raise MaculaError("; ".join(failures))


def _provenance() -> Provenance:
    moment = datetime.fromtimestamp(SystemClock().now(), UTC)
    return Provenance(
        command=shlex.join(["macula", *sys.argv[1:]]),
        moment=moment.strftime("%Y-%m-%d %H:%M UTC"),
        versions={"maculaos": __version__, "Python": platform.python_version()},
        machine=f"{platform.platform()}, {os.cpu_count()} processors",
    )


def _rng(scenario: Scenario) -> random.Random:
    return random.Random(scenario.seed)  # noqa: S311  # padding and names are no secrets


def _try(path: Path) -> None:
    """Refuse what cannot be written; what is there stays as it is."""
    with _complaining(path):
        if path.exists():
            path.open("ab").close()
        if _is_replaced(path):
            tempfile.TemporaryFile(dir=path.resolve().parent).close()


def _write(path: Path, text: str) -> None:
    with _complaining(path):
        if _is_replaced(path):
            write_atomically(path.resolve(), text.encode())
        else:
            path.write_text(text, encoding="utf-8")


def _is_replaced(path: Path) -> bool:
    """Whether a file takes the place of ``path``; a pipe or a device is written to instead."""
    return path.is_file() or not path.exists()


@contextmanager
def _complaining(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"cannot write the report to {path}: {error.strerror}"
        raise UsageError(what, "choose another file with --report") from error
