"""The ``reconciler`` command: a verb per function; data on stdout, words for people on stderr.

Only the module of the verb that is asked for is loaded: the start is most of a short command.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

import typer

from jails.runtime import JailError
from maculaos.documents import InvalidDocument
from maculaos.errors import MaculaError, UsageError
from reconciler.cli.speech import EXIT_CODES, NOT_AS_WANTED, WRONG_USE, say
from reconciler.sources.trust import Untrusted
from reconciler.sources.unreachable import SourceUnreachable
from reconciler.specs.desired import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

# Which module adds which verbs, in the order of ``--help``.
VERBS: Final[dict[str, tuple[str, ...]]] = {
    "running": ("run", "sync", "down"),
    "looking": ("plan", "status", "history", "check"),
    "hosting": ("serve-git", "serve-git-shell"),
    "carrying": ("bundle",),
    "consenting": ("consent",),
    "steering": ("suspend", "resume", "rollback"),
    "rolling": ("promote", "abort", "retry", "pause-rollout", "resume-rollout"),
    "asking": ("explain", "doctor", "events", "metrics"),
    "comparing": ("diff",),
}


def app_for(words: Sequence[str]) -> typer.Typer:
    """The command with the verbs that ``words`` may mean: one module's, or all of them."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help=f"Make this machine match a Git repository.\n\n{EXIT_CODES}")(_no_options)
    named = [module for module, verbs in VERBS.items() if words and words[0] in verbs]
    # What is loaded stays: to look through it for garbage is a tenth of a short command.
    gc.disable()
    try:
        for module in named or VERBS:
            import_module(f"reconciler.cli.{module}").add_to(app)
        gc.freeze()
    finally:
        gc.enable()
    return app


def _no_options() -> None:
    """The verbs have the options; with this, a single verb is a verb, too."""


def main() -> None:
    """Run one verb; what people can mend becomes one line each, never a traceback."""
    try:
        app_for(sys.argv[1:])()
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
