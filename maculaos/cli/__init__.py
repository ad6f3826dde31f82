"""The ``macula`` command: it starts a node, talks to one, and makes identities.

Data goes to standard output, words for people to standard error. Every expected error is one
line with the next move and an exit code, and what the system refuses is one line, too; only a bug
shows a traceback. Nothing is decided here.
"""

from __future__ import annotations

import sys
from typing import Final, NoReturn

import typer

from maculaos.cli import (
    calls,
    cert,
    discovery,
    events,
    loadtest,
    mesh,
    node,
    realm,
    top,
    topology,
    trace,
)
from maculaos.client import CallFailed, NodeUnreachable
from maculaos.documents import InvalidDocument
from maculaos.errors import MaculaError, UsageError

EXIT_CODES: Final[tuple[tuple[type[MaculaError], int], ...]] = (
    (NodeUnreachable, 3),
    (CallFailed, 4),
    (InvalidDocument, 2),
    (UsageError, 2),
    (MaculaError, 1),
)
_EPILOG: Final = (
    "Exit codes: 0 done; 1 failed; 2 cannot be done as asked (command line, configuration, "
    "credentials, port or socket); 3 node not reachable; 4 call failed; 130 interrupted."
)

app = typer.Typer(
    help="Run a node of the Macula mesh, and talk to it.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(realm.app, name="realm")
app.add_typer(cert.app, name="cert")
node.add_to(app)
mesh.add_to(app)
events.add_to(app)
calls.add_to(app)
topology.add_to(app)
discovery.add_to(app)
top.add_to(app)
trace.add_to(app)
loadtest.add_to(app)


def main() -> None:
    """Run the command line of this process; ends it with an exit code."""
    try:
        app()
    except MaculaError as error:
        for line in complaint(error):
            typer.echo(f"macula: {line}", err=True)
        sys.exit(exit_code(error))
    except OSError as error:
        if error.errno is None:
            raise
        _end_refused(error)


def _end_refused(error: OSError) -> NoReturn:
    """End with what the system refuses: a full disk, an output that cannot be written."""
    what = f"{error.filename}: " if error.filename is not None else ""
    typer.echo(f"macula: {_printable(f'{what}{error.strerror}')}", err=True)
    # What is still held back for standard output would be tried again, and complained of again.
    sys.stdout = None
    sys.exit(1)


def exit_code(error: MaculaError) -> int:
    """How the command ends after ``error``."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def complaint(error: MaculaError) -> list[str]:
    """What to tell people: one line, or one for each problem of a document."""
    lines = error.problems if isinstance(error, InvalidDocument) else (error,)
    return [_printable(" ".join(str(line).split())) for line in lines]


def _printable(line: str) -> str:
    """``line`` without what a terminal would obey: some of it was said by other machines."""
    return "".join(each if each.isprintable() else "?" for each in line)
