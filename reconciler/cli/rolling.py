"""The verbs about the rollout of one app: ``promote``, ``abort``, ``retry``, and to hold it.

They are for a running reconciler: it alone looks on and on. What they mean is decided in
``reconciler.rollouts``.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

import typer

from reconciler.assembly import load_settings
from reconciler.cli.speech import DONE, EXIT_CODES, NOT_AS_WANTED, Config, data
from reconciler.control import SOCKET_NAME, ask
from reconciler.rollouts.decision import Word

TIMEOUT_S: Final = 40.0
_REFUSED: Final = "not "

App = Annotated[str, typer.Argument(metavar="APP", help="The app, by its name.")]


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (promote, abort, retry, pause_rollout, resume_rollout):
        app.command(epilog=EXIT_CODES)(verb)


def promote(name: App, config: Config = None) -> None:
    """Let a blue-green or canary rollout go on, if all its new instances are healthy."""
    _say(Word.PROMOTE, name, config)


def abort(name: App, config: Config = None) -> None:
    """Give the new version of an app up and go back to the stable one."""
    _say(Word.ABORT, name, config)


def retry(name: App, config: Config = None) -> None:
    """Try the version of an app again that was given up."""
    _say(Word.RETRY, name, config)


def pause_rollout(name: App, config: Config = None) -> None:
    """Move no instance of an app until resumed; no deadline passes meanwhile."""
    _say(Word.PAUSE, name, config)


def resume_rollout(name: App, config: Config = None) -> None:
    """Go on with the rollout of an app that was paused."""
    _say(Word.RESUME, name, config)


def _say(word: Word, app: str, config: Config) -> None:
    request = {"do": "rollout", "word": str(word), "app": app}
    answer = asyncio.run(ask(load_settings(config).run_dir / SOCKET_NAME, request, TIMEOUT_S))
    said = [str(line) for line in answer["said"]]
    for line in said:
        data.print(line, markup=False, highlight=False)
    is_refused = any(line.startswith(_REFUSED) for line in said)
    raise typer.Exit(NOT_AS_WANTED if is_refused else DONE)
