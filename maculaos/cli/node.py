"""``macula start``: one node in the foreground, until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path  # noqa: TC003  # typer reads annotations at run time
from typing import Annotated

import typer

from maculaos.host.clock import SystemClock
from maculaos.host.entropy import SystemEntropy
from maculaos.host.logbook import Level, LibraryHandler, Logbook


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(start)


def start(
    config: Annotated[Path, typer.Option(help="The node's YAML file; see docs/operations.md.")],
    verbose: Annotated[bool, typer.Option("--verbose", help="Log clients too.")] = False,
) -> None:
    """Run a node in the foreground; SIGTERM stops it, SIGHUP reads the configuration again."""
    # Here, because the verbs of clients start faster without QUIC.
    from maculaos.daemon import Daemon

    clock = SystemClock()
    logbook = Logbook(sys.stderr, clock, Level.DEBUG if verbose else Level.INFO)
    logging.basicConfig(handlers=[LibraryHandler(logbook)], level=logging.INFO)
    asyncio.run(Daemon(config, logbook, clock, SystemEntropy()).run())
