"""What lies in a jail's directory, and the two records through which runtime and keeper speak.

    .macula-jail   empty; only directories that hold it are ours
    spec.json      the assignment: written by the runtime, read by a keeper when it starts
    keeper.json    the report: written by the keeper at every change
    lock           held by the keeper and its program while either lives
    log, log.1     what the program wrote
    data/          the writable part: files of the spec, and the program's working directory
    data.new/      the writable part that is to be, for a moment (``jails.snapshots``)
    snapshots/     copies of it, by label

A record that is missing or damaged reads as None: who looks at the machine must not trip.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jails.runtime import is_jail_name
from jails.spec import HookKind, JailState, ProgramHooks, Restart, RestartPolicy
from maculaos.host.files import remove_leftovers, write_atomically
from maculaos.host.processes import ProcessMark

if TYPE_CHECKING:
    from pathlib import Path

MARKER = ".macula-jail"
# Every program is started with the path of its jail in this variable, and passes it on.
JAIL_VARIABLE = "MACULA_JAIL"
_PRIVATE = 0o600
# No record comes near this; a larger file is not a record.
_MOST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a keeper is to keep: ``spec.json``."""

    # Counts launches and stops. A keeper whose number is not this one came too late, and ends.
    launch: int
    program_digest: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    restart: Restart
    stop_deadline_s: float
    # Paths under data/ that came from the spec, so that they can go with it.
    files: tuple[str, ...]
    log_bytes: int
    settle_s: float
    watch_s: float
    # A file with variables that stand in no record (``SecretEnvironment.path``); empty for none.
    secrets: str = ""
    # Whoever looks after the program runs them; a keeper does not.
    hooks: ProgramHooks = field(default_factory=ProgramHooks)

    def next_launch(self) -> Assignment:
        """The same with a new number, so that a keeper on its way finds itself too late."""
        return replace(self, launch=self.launch + 1)

    def without_program(self) -> Assignment:
        """Nothing to keep, but the files that were placed are still known."""
        nothing = replace(self.next_launch(), program_digest="", command=(), environment={})
        return replace(nothing, secrets="", hooks=ProgramHooks())


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a keeper says of itself and its program: ``keeper.json``."""

    keeper: ProcessMark | None
    program: ProcessMark | None
    state: JailState
    program_digest: str
    # Which directory data/ was when the program was started; empty where none runs.
    place: str = ""
    started_at: float | None = None
    restarts: int = 0
    last_exit: str = ""


class JailDirectory:
    """The directory of one jail: where its things lie, and reading and writing its records."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.data = path / "data"
        self.restored = path / "data.new"
        self.snapshots = path / "snapshots"
        self.lock = path / "lock"
        self.log = path / "log"
        self._marker = path / MARKER
        self.assignment_file = path / "spec.json"
        self._report = path / "keeper.json"

    def is_ours(self) -> bool:
        """Whether a runtime made it; anything else under the root is left alone."""
        # Unlike Path.is_file, this is simply false for a directory that we may not read.
        is_marked = os.path.isfile(self._marker)
        return is_jail_name(self.name) and is_marked and not self.path.is_symlink()

    def claim(self) -> None:
        """Mark it as ours, and make its writable part."""
        self._marker.touch(_PRIVATE)
        self.make_data()

    def make_data(self) -> None:
        """Make the writable part if it is missing; whoever deletes it need not know of us.

        A complete one that was about to take its place takes it now.
        """
        if self.restored.is_dir() and not self.data.exists():
            self.restored.rename(self.data)
        self.data.mkdir(mode=0o700, exist_ok=True)

    def place(self) -> str:
        """Which directory data/ is now, however it is called; empty if there is none."""
        try:
            return place_of(self.data.stat())
        except OSError:
            return ""

    def has_data(self) -> bool:
        """Whether a writable part lies there, or what can become one."""
        return any(map(os.path.lexists, (self.data, self.restored, self.snapshots)))

    def remove_leftovers(self) -> None:
        """Delete half-written records; only when no keeper runs."""
        remove_leftovers(self.assignment_file)
        remove_leftovers(self._report)

    def contents(self) -> list[Path]:
        """Everything in the directory but the mark."""
        return [entry for entry in sorted(self.path.iterdir()) if entry != self._marker]

    def disclaim(self) -> None:
        """Take the mark off: the last step before the empty directory goes."""
        self._marker.unlink(missing_ok=True)

    def assignment(self) -> Assignment | None:
        """The last assignment, if there is a sound one."""
        said = _read(self.assignment_file)
        try:
            return _assignment_of(said) if said is not None else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def report(self) -> Report | None:
        """The last report, if there is a sound one."""
        said = _read(self._report)
        try:
            return _report_of(said) if said is not None else None
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def write_assignment(self, assignment: Assignment) -> None:
        """Replace ``spec.json``; mode 0600, since the environment may hold secrets."""
        plain = replace(assignment, environment=dict(assignment.environment))
        _write(self.assignment_file, asdict(plain))

    def write_report(self, report: Report) -> None:
        """Replace ``keeper.json``."""
        _write(self._report, asdict(report))


def place_of(seen: os.stat_result) -> str:
    """The identity of a directory, which another one may have only after it is gone."""
    return f"{seen.st_dev}:{seen.st_ino}"


def _assignment_of(said: dict[str, Any]) -> Assignment:
    restart = said["restart"] | {"policy": RestartPolicy(said["restart"]["policy"])}
    return Assignment(
        launch=int(said["launch"]),
        program_digest=str(said["program_digest"]),
        command=tuple(map(str, said["command"])),
        environment={str(key): str(value) for key, value in said["environment"].items()},
        restart=Restart(**restart),
        stop_deadline_s=float(said["stop_deadline_s"]),
        files=tuple(map(str, said["files"])),
        log_bytes=int(said["log_bytes"]),
        settle_s=float(said["settle_s"]),
        watch_s=float(said["watch_s"]),
        secrets=str(said.get("secrets", "")),
        hooks=_hooks_of(said.get("hooks", {})),
    )


def _hooks_of(said: dict[str, Any]) -> ProgramHooks:
    start, drain, stop = (tuple(map(str, said.get(kind, ()))) for kind in HookKind)
    timeout_s = float(said.get("timeout_s", ProgramHooks().timeout_s))
    return ProgramHooks(start=start, drain=drain, stop=stop, timeout_s=timeout_s)


def _report_of(said: dict[str, Any]) -> Report:
    started_at = said["started_at"]
    return Report(
        keeper=_mark_of(said["keeper"]),
        program=_mark_of(said["program"]),
        state=JailState(said["state"]),
        program_digest=str(said["program_digest"]),
        place=str(said["place"]),
        started_at=None if started_at is None else float(started_at),
        restarts=int(said["restarts"]),
        last_exit=str(said["last_exit"]),
    )


def _mark_of(said: dict[str, Any] | None) -> ProcessMark | None:
    return None if said is None else ProcessMark(int(said["pid"]), str(said["born"]))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        with path.open("rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _write(path: Path, said: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(said, indent=1).encode() + b"\n", _PRIVATE)
