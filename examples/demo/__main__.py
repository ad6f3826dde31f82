"""``make up``, ``make up-check`` and ``make down``."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess  # noqa: TID251  # starts the reconciler as an operator would, and leaves it alone
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import psutil
import typer
import yaml
from git.exc import GitError
from rich.console import Console
from rich.table import Table

from demo.acts import ACTS, ActFailed, Stage
from demo.machine import node_processes
from demo.picture import draw
from demo.site import Jails, Site, free_port, listening_ports, prepare
from jails.namespaces.abilities import SEARCH_PATH, probe
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.files import AlreadyLocked, exclusive_lock, make_private_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
DEMO: Final = CHECKOUT / "var" / "demo"
CHECK: Final = CHECKOUT / "var" / "check"
# For whoever reads the table in a log rather than on a terminal.
LOG_WIDTH: Final = 110
Root = Annotated[Path, typer.Option("--root", help="The folder in which it plays.")]
Runtime = Annotated[
    str, typer.Option("--runtime", help="How jails are run: auto, jail, namespaces or process.")
]

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
people = Console(stderr=True, highlight=False)


@app.command()
def up(root: Root = DEMO, runtime: Runtime = "process") -> None:
    """Prepare the demo and become its reconciler; Ctrl-C stops everything."""
    site, jails = Site(root.resolve()), _jails(runtime)
    with _alone(site):
        _end_other_jails(site, jails)
        with people.status("preparing the demo"):
            prepare(site, {}, _tell, jails)
    if not jails.own_network:
        _check_ports(site)
    hints = (word for hint in _hints(site) for word in ("--hint", hint))
    argv = (*_reconciler("run", site), "--live", "--stop-jails-on-exit", *hints)
    os.execv(argv[0], argv)  # noqa: S606  # no shell: the reconciler takes this process over


@app.command()
def check(root: Root = CHECK, runtime: Runtime = "process") -> None:
    """Play the whole main job with nobody watching; exit 0 only if all of it happened."""
    site, jails = Site(root.resolve()), _jails(runtime)
    with _alone(site):
        _check(site, jails)


def _check(site: Site, jails: Jails) -> None:
    if site.settings_file.exists():
        _down(site)
    shutil.rmtree(site.root, ignore_errors=True)
    with people.status("preparing the check"):
        prepare(site, {name: free_port() for name in ("n1", "n2", "n3")}, _tell, jails)
    log = site.root / "reconciler.log"
    with log.open("wb") as output:
        reconciler = subprocess.Popen(
            _reconciler("run", site), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        played = _play(Stage(site, SystemClock(), psutil.Process(reconciler.pid)))
    finally:
        reconciler.send_signal(signal.SIGTERM)
        reconciler.wait(timeout=30)
        _down(site)
    if not played:
        people.print(f"What the reconciler said: {log}")
        raise typer.Exit(1)


@app.command()
def down(
    root: Annotated[
        list[Path] | None, typer.Option("--root", help="The folders in which it played.")
    ] = None,
) -> None:
    """Stop everything that a demo or a check left running; repository and identities stay."""
    sites = [Site(folder.resolve()) for folder in root or (DEMO, CHECK)]
    prepared = [site for site in sites if site.settings_file.exists()]
    for site in prepared:
        _down(site)
    if not prepared:
        people.print(f"nothing to stop: there is no demo in {sites[0].root}")


@app.command()
def picture(
    out: Annotated[Path, typer.Argument(help="Where the SVG goes.")],
    root: Root = DEMO,
) -> None:
    """Draw the live view of a running demo, for documents."""
    site = Site(root.resolve())
    out.write_text(draw(site, _hints(site)))


def _jails(runtime: str) -> Jails:
    """Namespaces get a network for each jail, if this user may make one."""
    if runtime != "namespaces":
        return Jails(runtime)
    found = probe(SystemRunner({"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}))
    return Jails(runtime, own_network=found.has_network)


def _end_other_jails(site: Site, jails: Jails) -> None:
    """Remove the jails of a demo that ran another way: they keep nothing that is missed."""
    if site.settings_file.exists():
        before = yaml.safe_load(site.settings_file.read_text()).get("runtime", "process")
        if before != jails.runtime:
            _tell(f"removing the jails that ran as {before}")
            _down(site)


def _play(stage: Stage) -> bool:
    """Play the acts in order until one fails; print what took how long."""
    table = Table("act", "result", "seconds", title="The main job")
    table.columns[2].justify = "right"
    began = stage.clock.monotonic()
    complaint = ""
    for act in ACTS:
        title = (act.__doc__ or act.__name__).strip().rstrip(".")
        started = stage.clock.monotonic()
        try:
            with people.status(title):
                asyncio.run(act(stage))
        except (ActFailed, MaculaError, psutil.Error, OSError) as error:
            complaint = str(error)
        took = f"{stage.clock.monotonic() - started:.2f}"
        table.add_row(title, "[red]FAILED" if complaint else "[green]ok", took)
        if complaint:
            break
    table.add_section()
    table.add_row("all of it", "", f"{stage.clock.monotonic() - began:.2f}")
    Console(highlight=False, width=None if sys.stdout.isatty() else LOG_WIDTH).print(table)
    if complaint:
        people.print(f"demo: {complaint}", style="red")
    return not complaint


def _check_ports(site: Site) -> None:
    """Say before anything starts if a port of the seeded nodes is somebody else's."""
    running = node_processes(site)  # left by a crash: the reconciler adopts them
    for name, (address, port) in listening_ports(site).items():
        if name in running:
            continue
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((address, port))
            except OSError as error:
                raise UsageError(
                    f"{name} cannot listen on {address} port {port}: {error.strerror}",
                    f"run make down, or choose another port in {site.worktree}/nodes and push it",
                ) from error


def _hints(site: Site) -> tuple[str, ...]:
    tree = os.path.relpath(site.worktree)
    node = os.path.relpath(site.socket("n1"))
    macula = os.path.relpath(Path(sys.executable).with_name("macula"))
    return (
        f"push a change:     cd {tree}; edit nodes/n2.yaml; git commit -am 'Move n2'; git push",
        f"talk to the mesh:  {macula} call echo '\"hello\"' --socket {node}",
    )


def _reconciler(verb: str, site: Site) -> tuple[str, ...]:
    program = str(Path(sys.executable).with_name("reconciler"))
    return (program, verb, "--config", str(site.settings_file))


def _down(site: Site) -> None:
    with people.status("stopping everything"):
        stopped = subprocess.run(_reconciler("down", site), check=False, timeout=120)
    if stopped.returncode != 0:
        raise UsageError(f"not everything in {site.root} could be stopped", "see the lines above")
    if not site.run.is_relative_to(site.root):
        shutil.rmtree(site.run, ignore_errors=True)


@contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Nobody else prepares or checks this site meanwhile; raises ``UsageError`` if one does."""
    lock = site.root.with_name(f"{site.root.name}.lock")
    make_private_directory(lock.parent)
    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(lock))
        except AlreadyLocked as error:
            raise UsageError(f"another make is at work here: {error.what}", "wait for it") from None
        yield


def _tell(line: str) -> None:
    people.print(line)


def main() -> int:
    """Run one verb; turn what people can mend into one line."""
    _forget_git_settings()
    try:
        app()
    except (MaculaError, GitError, OSError) as error:
        people.print(f"demo: {' '.join(str(error).split())}", style="red", markup=False)
        return 1
    return 0


def _forget_git_settings() -> None:
    """Work in our own repositories: a GIT_DIR of this shell would lead Git into another one."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        if name != "GIT_EXEC_PATH":
            del os.environ[name]
    os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


if __name__ == "__main__":
    sys.exit(main())
