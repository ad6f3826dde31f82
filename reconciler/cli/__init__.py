"""The ``reconciler`` command: a verb per function; data on stdout, words for people on stderr."""

from __future__ import annotations

import sys

import typer

from jails.runtime import JailError
from maculaos.documents import InvalidDocument
from maculaos.errors import MaculaError, UsageError
from reconciler.cli import (
    asking,
    carrying,
    comparing,
    consenting,
    hosting,
    looking,
    rolling,
    running,
    steering,
)
from reconciler.cli.speech import EXIT_CODES, NOT_AS_WANTED, WRONG_USE, say
from reconciler.sources.trust import Untrusted
from reconciler.sources.unreachable import SourceUnreachable
from reconciler.specs.desired import Refused

app = typer.Typer(
    help=f"Make this machine match a Git repository.\n\n{EXIT_CODES}",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
running.add_to(app)
looking.add_to(app)
hosting.add_to(app)
carrying.add_to(app)
consenting.add_to(app)
steering.add_to(app)
rolling.add_to(app)
asking.add_to(app)
comparing.add_to(app)


def main() -> None:
    """Run one verb; what people can mend becomes one line each, never a traceback."""
    try:
        app()
    except (Refused, InvalidDocument) as error:
        say([str(problem) for problem in error.problems])
        sys.exit(NOT_AS_WANTED if isinstance(error, Refused) else WRONG_USE)
    except Untrusted as error:
        say(list(error.lines))
        sys.exit(NOT_AS_WANTED)
    except (MaculaError, JailError) as error:
        say([str(error)])
        is_wrong_use = isinstance(error, UsageError) and not isinstance(error, SourceUnreachable)
        sys.exit(WRONG_USE if is_wrong_use else NOT_AS_WANTED)
    except OSError as error:
        say([f"{error.filename or 'the system'}: {error.strerror or error}"])
        sys.exit(NOT_AS_WANTED)
    except KeyboardInterrupt:
        sys.exit(130)
