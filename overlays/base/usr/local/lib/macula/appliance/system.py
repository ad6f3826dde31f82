"""The ``macula-system`` command: a verb per function; data on stdout, words on stderr.

It parses, wires and prints. What a start does is decided in ``appliance.firstboot``; updates have a
command of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  # typer reads it when the program runs
from typing import Annotated, Final

import typer
from rich.console import Console

from appliance import identity
from appliance.media import Media
from appliance.panel import PROBLEMS, Panel
from appliance.places import Places
from appliance.screen import render
from appliance.seed import InvalidSeed, parse_seed
from appliance.startup import MachineFiles, Startup, Tools
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SystemEntropy

FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
_PROBLEMS_MODE: Final = 0o644
_EXIT_CODES: Final = "Exit codes: 0 done; 1 failed; 2 wrong use, nothing was changed."

app = typer.Typer(
    help="Settle this machine as its seed says, and show how it stands.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
people = Console(stderr=True, highlight=False, soft_wrap=True)
places = Places()


@app.command()
def firstboot(
    at_start: Annotated[
        bool, typer.Option("--at-start", help="Services start after this: restart none.")
    ] = False,
) -> None:
    """Make keys, grow the data partition, and make /etc of the seed; safe to repeat."""
    startup = _startup()
    plan = startup.settle(is_running=not at_start)
    startup.grow()
    MachineFiles(places.root).put(PROBLEMS, "\n".join(plan.problems).encode(), _PROBLEMS_MODE)


@app.command()
def tune() -> None:
    """Set the kernel's tunables as the memory of this machine allows."""
    _startup().tune()


@app.command()
def screen(
    console: Annotated[
        bool, typer.Option("--console", help="Stay, and print to the console what changes.")
    ] = False,
) -> None:
    """Show slot, version, addresses, revision, health and the last update."""
    panel = Panel(
        places=places,
        files=MachineFiles(places.root),
        runner=SystemRunner(),
        clock=SystemClock(),
    )
    if console:
        panel.watch()
    else:
        sys.stdout.write(render(panel.look()))


@app.command()
def check(seed: Annotated[Path, typer.Argument(help="A seed.toml.")]) -> None:
    """Say everything that is wrong with a seed, before it is given to a machine."""
    try:
        content = seed.read_bytes()
    except OSError as error:
        raise UsageError(f"{seed}: {error.strerror}", "name a file") from error
    try:
        parse_seed(content)
    except InvalidSeed as error:
        for problem in error.problems:
            _say(f"{seed}: {problem}")
        sys.exit(WRONG_USE)
    _say(f"{seed}: nothing is wrong with it")


@app.command("identity")
def show_identity() -> None:
    """Print the machine's public key, as a Git server takes it."""
    content = MachineFiles(places.root).read(identity.MACHINE_KEY)
    if content is None:
        raise UsageError("this machine has no key yet", "run: macula-system firstboot")
    sys.stdout.write(identity.public_line(content) + "\n")


def main() -> None:
    """Run one verb; what people can mend becomes one line, never a traceback."""
    try:
        app()
    except MaculaError as error:
        _say(" ".join(str(error).split()))
        sys.exit(WRONG_USE if isinstance(error, UsageError) else FAILED)
    except OSError as error:
        _say(f"{error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _startup() -> Startup:
    runner = SystemRunner()
    return Startup(
        Tools(
            places=places,
            files=MachineFiles(places.root),
            runner=runner,
            media=Media(places, runner),
            clock=SystemClock(),
            entropy=SystemEntropy(),
            say=_say,
        )
    )


def _say(line: str) -> None:
    people.print(f"macula-system: {line}", markup=False)


if __name__ == "__main__":
    main()
