"""What every verb says and how: data on standard output, words for people on standard error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

DONE: Final = 0
NOT_AS_WANTED: Final = 1
WRONG_USE: Final = 2

EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 partial, progressing, refused, failed, unreachable or not as wanted; "
    "2 wrong use: options, settings, another reconciler runs, or none."
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


def print_json(said: Any) -> None:
    """Print ``said`` for programs."""
    sys.stdout.write(json.dumps(said, indent=2) + "\n")


def say(lines: list[str]) -> None:
    """Tell people each of ``lines``."""
    for line in lines:
        people.print(f"reconciler: {line}", markup=False)
