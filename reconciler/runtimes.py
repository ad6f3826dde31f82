"""The runtimes of this machine: which of them work, whose jails are there, and opening one.

Jails of every runtime lie in ``state_dir/jails``, and the file ``state_dir/runtime.json`` names
the runtime whose jails those are; without the file they are plain processes. Which runtime it
shall be is decided in ``reconciler.choice``. A runtime is tried only if the choice needs it: who
names ``process`` starts no sandbox.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jails.keeper.records import JailDirectory
from jails.process import ProcessRuntime
from jails.runtime import Runtime
from maculaos.errors import UsageError
from maculaos.host.clock import Clock
from maculaos.host.commands import SystemRunner
from maculaos.host.files import remove_leftovers, write_atomically
from reconciler.choice import (
    AUTO,
    STRONGEST_FIRST,
    Candidate,
    Choice,
    Kept,
    choose,
    refuse_broken,
)
from reconciler.machine import own_directory

if TYPE_CHECKING:
    from maculaos.host.commands import CommandRunner
    from reconciler.settings import ReconcilerSettings

RECORD_NAME: Final = "runtime.json"
RECORD_BYTES: Final = 4096
WITHOUT_RECORD: Final = "process"

_ALONE: Final = (
    "processes work everywhere, but nothing isolates them: each sees the files, the processes and "
    "the network of this machine"
)


@dataclass(frozen=True, slots=True)
class Offer:
    """A runtime as it is here, and how to open it on a folder of jails."""

    candidate: Candidate
    open: Callable[[Path, Clock], Runtime]


Trials = Mapping[str, Callable[[], Offer]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A runtime to work with, and why it is this one."""

    runtime: Runtime
    choice: Choice


def open_runtime(
    settings: ReconcilerSettings, clock: Clock, trials: Trials | None = None
) -> Opened:
    """The runtime that the settings ask for, put on record; the caller holds the lock.

    Raises ``UsageError`` if it does not work here, if jails of another one are there, or if
    ``state_dir`` cannot be used.
    """
    own_jails(settings)
    opened = expected_runtime(settings, clock, trials)
    _write_record(settings.state_dir / RECORD_NAME, opened.choice.name)
    return opened


def expected_runtime(
    settings: ReconcilerSettings, clock: Clock, trials: Trials | None = None
) -> Opened:
    """What ``open_runtime`` would give now, or raise; nothing is written."""
    return _Site(settings, clock, trials).choose(settings.runtime)


def present_runtime(
    settings: ReconcilerSettings, clock: Clock, trials: Trials | None = None
) -> Runtime:
    """The runtime whose jails are there, whatever the settings say; theirs if none are there.

    Raises ``UsageError`` as ``open_runtime`` does, or if it does not work any more.
    """
    own_jails(settings)
    site = _Site(settings, clock, trials)
    return site.recorded() if site.kept else site.choose(settings.runtime).runtime


def recorded_runtime(
    settings: ReconcilerSettings, clock: Clock, trials: Trials | None = None
) -> Runtime:
    """The runtime on record, to end what is there, whatever the settings say.

    Raises ``UsageError`` if jails of it are there and it does not work any more.
    """
    own_jails(settings)
    return _Site(settings, clock, trials).recorded()


def own_jails(settings: ReconcilerSettings) -> Path:
    """Make the folder of the jails, for us alone; raises ``UsageError`` if that cannot be."""
    own_directory("state_dir", settings.state_dir)
    return own_directory("state_dir", settings.state_dir / "jails")


class _Site:
    """What lies in one ``state_dir``, and the runtimes of its machine, each tried once at most."""

    def __init__(self, settings: ReconcilerSettings, clock: Clock, trials: Trials | None) -> None:
        self._jails = settings.state_dir / "jails"
        self._clock = clock
        own = trials_on(sys.platform, private=private_folders(settings))
        self._trials = own if trials is None else trials
        self._offers: dict[str, Offer] = {}
        self._opened: dict[str, Runtime] = {}
        self._on_record = _read_record(settings.state_dir / RECORD_NAME)
        self.kept = self._look_for_kept()

    def choose(self, wanted: str) -> Opened:
        """Choose by ``wanted``, with no more trials than that takes; open what was chosen."""
        choice = choose(wanted, self._candidates(wanted), self.kept)
        return Opened(self._open(choice.name), choice)

    def recorded(self) -> Runtime:
        """The runtime on record; raises ``UsageError`` if it is needed and does not work."""
        held = self._offer(self._on_record).candidate
        if self.kept is not None:
            refuse_broken(held, self.kept)
        # What runs although its folder is gone is known by its keeper, to plain processes too.
        return self._open(held.name if held.works else WITHOUT_RECORD)

    def _look_for_kept(self) -> Kept | None:
        if self._offer(self._on_record).candidate.works:
            is_there = bool(self._open(self._on_record).look())
        else:
            is_there = _has_marked(self._jails)
        return Kept(self._on_record, str(self._jails)) if is_there else None

    def _candidates(self, wanted: str) -> list[Candidate]:
        if wanted != AUTO:
            return [self._offer(wanted).candidate]
        tried = [] if self.kept is None else [self._offer(self.kept.name).candidate]
        for name in STRONGEST_FIRST:
            tried.append(self._offer(name).candidate)
            if tried[-1].works:
                break
        return tried

    def _offer(self, name: str) -> Offer:
        if name not in self._offers:
            self._offers[name] = self._trials[name]()
        return self._offers[name]

    def _open(self, name: str) -> Runtime:
        if name not in self._opened:
            self._opened[name] = self._offer(name).open(self._jails, self._clock)
        return self._opened[name]


def trials_on(
    system: str, freebsd: CommandRunner | None = None, private: tuple[Path, ...] = ()
) -> Trials:
    """How to try each runtime on a machine with that ``sys.platform``.

    ``freebsd`` runs the commands of a FreeBSD that is not this machine. ``private`` are folders
    that a jail must not see, even where they lie in what it is shown of the machine's system.
    """
    trials: dict[str, Callable[[], Offer]] = {
        "jail": partial(_elsewhere, "jail", "jails", "FreeBSD", system),
        "namespaces": partial(_elsewhere, "namespaces", "namespaces", "Linux", system),
        "process": _try_process,
    }
    if system.startswith("freebsd"):
        trials["jail"] = partial(_try_jail, freebsd)
    if system == "linux":
        trials["namespaces"] = partial(_try_namespaces, private)
    return trials


def _try_jail(runner: CommandRunner | None) -> Offer:
    # Only FreeBSD loads what renders files for jail(8).
    from jails.freebsd.abilities import SEARCH_PATH, probe
    from jails.freebsd.runtime import FreeBsdRuntime

    runner = runner or SystemRunner({"PATH": SEARCH_PATH, "LANG": "C.UTF-8"})
    found = probe(runner)
    candidate = Candidate("jail", not found.obstacle, found.statement())
    return Offer(candidate, partial(FreeBsdRuntime, runner=runner, abilities=found))


def private_folders(settings: ReconcilerSettings) -> tuple[Path, ...]:
    """What is the reconciler's own, or a secret of nodes or of the realm."""
    folders = (settings.state_dir, settings.run_dir, settings.credentials_dir, settings.realm_dir)
    return tuple(folder for folder in folders if folder is not None)


def _try_namespaces(private: tuple[Path, ...]) -> Offer:
    # Loaded for who asks only: a command that needs no sandbox starts sooner.
    from jails.namespaces import abilities as namespaces
    from jails.namespaces.enclosure import EnclosureSettings
    from jails.namespaces.runtime import NamespaceRuntime, NamespaceSettings

    found = namespaces.probe(SystemRunner({"PATH": namespaces.SEARCH_PATH, "LANG": "C.UTF-8"}))
    candidate = Candidate("namespaces", not found.obstacle, found.statement())
    wanted = NamespaceSettings(enclosure=EnclosureSettings(private=private))
    return Offer(candidate, partial(NamespaceRuntime, settings=wanted, abilities=found))


def _try_process() -> Offer:
    return Offer(Candidate("process", True, _ALONE), ProcessRuntime)


def _elsewhere(name: str, what: str, needed: str, system: str) -> Offer:
    statement = f"{what} do not work here: they need {needed}, and this system is {system}"

    def refuse(_root: Path, _clock: Clock) -> Runtime:
        raise UsageError(statement)

    return Offer(Candidate(name, False, statement), refuse)


def _has_marked(jails: Path) -> bool:
    """Whether jails lie there, whatever made them."""
    return jails.is_dir() and any(JailDirectory(path).is_ours() for path in jails.iterdir())


def _read_record(path: Path) -> str:
    """The name on record; raises ``UsageError`` if the file names no runtime."""
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(RECORD_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return WITHOUT_RECORD
    except ValueError:
        said = None
    name = said.get("runtime") if isinstance(said, dict) else None
    if name not in STRONGEST_FIRST:
        raise UsageError(
            f"{path} names none of the runtimes {', '.join(STRONGEST_FIRST)}",
            'write {"runtime": "NAME"} into it, with the one whose jails are there',
        )
    return str(name)


def _write_record(path: Path, name: str) -> None:
    remove_leftovers(path)
    if not path.exists() or _read_record(path) != name:
        write_atomically(path, json.dumps({"runtime": name}).encode() + b"\n", 0o600)
