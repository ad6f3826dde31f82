"""The ``maculaos-update`` command: a verb per function; data on stdout, words on stderr.

It parses, wires and prints. What may be done is decided in ``appliance.decisions`` and ``wishes``.
"""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from appliance import wishes
from appliance.device import RawDevice, SlotDevices
from appliance.factory import FactoryReset
from appliance.growth import LABEL, filesystem_bytes, next_growth
from appliance.health import MachineHealth
from appliance.keys import load_keyring
from appliance.places import Places
from appliance.source import open_source
from appliance.state import StateFile
from appliance.steps import Reboot
from appliance.update import Tools, Updater
from jails.freebsd import gpart
from maculaos.errors import MaculaError, UsageError
from maculaos.host.clock import SystemClock
from maculaos.host.commands import SystemRunner
from maculaos.host.files import make_private_directory
from maculaos.host.locks import locked_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.slots import SlotsFacts
    from appliance.state import State

FAILED: Final = 1
WRONG_USE: Final = 2
INTERRUPTED: Final = 130
_LOCK_TIMEOUT_S: Final = 10.0
_GROWTH_STEPS_MAX: Final = 4
_EXIT_CODES: Final = (
    "Exit codes: 0 done; 1 failed; 2 refused or wrong use, nothing was changed; 130 interrupted."
)

app = typer.Typer(
    help="Update this appliance, and say how its two slots stand.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
people = Console(stderr=True, highlight=False, soft_wrap=True)
places = Places()

NoReboot = Annotated[bool, typer.Option("--no-reboot", help="Leave the reboot to you.")]


@app.command()
def install(
    bundle: Annotated[str, typer.Argument(metavar="FILE|URL", help="An update bundle.")],
    force: Annotated[
        bool, typer.Option("--force", help="Even if it failed here, runs, or is older.")
    ] = False,
    no_reboot: NoReboot = False,
) -> None:
    """Write a signed bundle to the spare slot, check it, and reboot to try it."""
    keyring = load_keyring(places.trusted, places.revoked)
    if not keyring.trusted:
        raise UsageError(
            "this machine trusts no key, so it takes no bundle",
            f"put a public key into {places.record}/trusted",
        )
    updater = _updater()
    with open_source(bundle, SystemClock()) as stream, _bar() as bar:
        task = bar.add_task("writing", total=None)
        step = updater.install(
            stream,
            keyring,
            is_forced=force,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    _reboot_or_say(updater, step, no_reboot=no_reboot)


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say which slot runs, how an update stands, and how the last one ended."""
    updater = _updater()
    facts, state = updater.facts(), updater.state()
    if as_json:
        sys.stdout.write(msgspec.json.encode(_as_json(facts, state)).decode() + "\n")
    else:
        sys.stdout.write("\n".join(_as_text(facts, state)) + "\n")


@app.command()
def commit() -> None:
    """Keep the slot on trial without waiting for it to prove its health."""
    _updater().wish(wishes.commit)


@app.command()
def rollback(no_reboot: NoReboot = False) -> None:
    """Go back: leave the slot on trial, drop a prepared update, or try the other slot."""
    updater = _updater()
    now = SystemClock().now()
    step = updater.wish(lambda facts, state: wishes.roll_back(facts, state, now))
    _reboot_or_say(updater, step, no_reboot=no_reboot)


@app.command()
def forget(
    digest: Annotated[str, typer.Argument(help="The first digits of its digest.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Forget every failure.")] = False,
) -> None:
    """Let a bundle that failed here be tried again."""
    if every == bool(digest):
        raise UsageError("say which bundle to forget", "give the first digits, or --all")
    _updater().wish(lambda _facts, state: wishes.forget(state, digest))


@app.command()
def boot() -> None:
    """After a start: finish what was cut, say why the machine fell back, judge a trial."""
    updater = _updater()
    updater.boot()
    last = updater.state().last
    if last is not None:
        _say(last.describe())


@app.command()
def grow() -> None:
    """Let the data partition take what the disk has beyond the image."""
    runner = SystemRunner()
    for _ in range(_GROWTH_STEPS_MAX):
        step = next_growth(runner.run(*gpart.labels_argv()), _data_bytes())
        if step is None:
            return
        _say(f"{step.reason}: {' '.join(step.argv)}")
        runner.run(*step.argv, timeout_s=600)
    raise MaculaError("the data partition does not take the room that the disk has")


@app.command()
def factory_reset(
    yes: Annotated[bool, typer.Option("--yes", help="Yes, delete all settings and data.")] = False,
    at_start: Annotated[bool, typer.Option("--at-start", hidden=True)] = False,
) -> None:
    """Delete every setting, key and file of this machine; the system in its slots stays."""
    reset = FactoryReset(places.cfg, places.data)
    if at_start:
        if reset.is_due:
            reset.finish(_say)
        return
    if not yes:
        raise UsageError("this deletes every setting, key and file here", "say so with --yes")
    reset.ask()
    _updater().reboot("factory reset")


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
        _say("interrupted; the same command goes on where it stopped")
        sys.exit(INTERRUPTED)


def _updater() -> Updater:
    clock, runner = SystemClock(), SystemRunner()
    make_private_directory(places.lock)
    return Updater(
        Tools(
            runner=runner,
            devices=SlotDevices(places.labels),
            record=StateFile(places.record),
            clock=clock,
            health=MachineHealth(runner),
            say=_say,
            lock=functools.partial(locked_directory, places.lock, clock, _LOCK_TIMEOUT_S),
        )
    )


def _reboot_or_say(updater: Updater, step: object, *, no_reboot: bool) -> None:
    if not isinstance(step, Reboot):
        return
    if no_reboot:
        _say(f"ready; reboot {step.reason}")
    else:
        updater.reboot(step.reason)


def _as_json(facts: SlotsFacts, state: State) -> dict[str, Any]:
    slots = {
        str(slot): {
            "marks": sorted(held.marks),
            "runs": slot is facts.running,
            "spoiled": slot in state.spoiled,
            "bundle": state.contents.get(slot),
        }
        for slot, held in facts.slots.items()
    }
    return {
        "running": facts.running,
        "on_trial": facts.is_on_trial,
        "phase": state.phase,
        "reason": state.reason,
        "slots": slots,
        "last": state.last,
        "failed": state.failed,
    }


def _as_text(facts: SlotsFacts, state: State) -> list[str]:
    lines = [f"update  {state.describe()}"]
    for slot, held in facts.slots.items():
        bundle = state.contents.get(slot)
        words = [bundle.version if bundle else "no record", *sorted(held.marks)]
        words += ["runs"] if slot is facts.running else []
        words += ["must not boot"] if slot in state.spoiled else []
        lines.append(f"slot {slot}  {', '.join(words)}")
    if state.slot is not None and state.last is not None:
        lines.append(f"before  {state.last.describe()}")
    lines += [f"failed  {each.digest[:12]} {each.version}: {each.reason}" for each in state.failed]
    return lines


def _data_bytes() -> int:
    device = RawDevice(places.labels / LABEL, is_writable=False)
    try:
        return filesystem_bytes(device.read_at)
    finally:
        device.close()


@contextmanager
def _bar() -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TimeRemainingColumn(), console=people, transient=True) as bar:
        yield bar


def _say(line: str) -> None:
    people.print(f"maculaos-update: {line}", markup=False)
