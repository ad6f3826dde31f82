"""Jails as plain processes: the runtime that works on any machine.

Each jail is a directory (``jails.keeper.records``) and, while it runs, a keeper process with the
program as its child. This runtime remembers nothing: it reads the directory and looks at the
processes, so a new one, in another process, sees and does the same. What runs although its
directory was deleted is found by the process table alone (``jails.keeper.census``, which says
what cannot be found). It keeps programs apart only by directory, environment and process group;
it does not isolate them from each other.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jails.enclosure import Bare
from jails.hooks import HookFailed, run_hook
from jails.keeper.census import take_census
from jails.keeper.ending import Ending, Patience
from jails.keeper.findings import Findings
from jails.keeper.output import last_lines, log_size
from jails.keeper.placing import place_files, remove_files
from jails.keeper.records import Assignment, JailDirectory, Report
from jails.keeper.surroundings import surroundings_of
from jails.renaming import hand_over, strip
from jails.runtime import (
    EXEC_TIMEOUT_S,
    JailError,
    cannot,
    is_jail_name,
    refuse_bad_rename,
    refuse_bad_spec,
    taken,
)
from jails.snapshots import Snapshots
from jails.spec import AT_REST, JailState
from maculaos.host.commands import CommandFailed, SystemRunner
from maculaos.host.files import AlreadyLocked, make_private_directory
from maculaos.host.locks import locked_directory
from maculaos.host.processes import system_processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jails.enclosure import Enclosure
    from jails.keeper.census import Presence
    from jails.spec import HookKind, JailFacts, JailSpec, JailUsage
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner
    from maculaos.host.processes import ProcessTable

# Exit statuses of ``python -m jails.keeper``.
_PROGRAM_ENDED = 3
_LAUNCH_REFUSED = 4
_TAIL_LINES = 8
_LOOK_AGAIN_S = 0.02
_KEPT = (JailState.RUNNING, JailState.BACKING_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """Deadlines and bounds of the process runtime."""

    # Until a keeper has the program running: longer forgives a slow machine.
    start_deadline_s: float = 20.0
    # A program that ends within this counts as ended at once; every start takes that long.
    settle_s: float = 0.1
    # Until what runs of a jail is ended by force, if the record of its own deadline is gone.
    lost_deadline_s: float = 10.0
    # What a keeper gets on top, before it counts as stuck and is killed.
    keeper_patience_s: float = 2.5
    # How often a keeper makes sure that its directory is still there; costs a wake-up each time.
    watch_s: float = 2.0
    # Until another process that works on the same jail must be done.
    busy_deadline_s: float = 60.0
    # The log of each jail, and its predecessor, are at most this large.
    log_bytes: int = 1024 * 1024


class ProcessRuntime:
    """Runs each jail as a supervised process, with its state under ``root`` (made private)."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        settings: ProcessSettings | None = None,
        *,
        processes: ProcessTable | None = None,
        runner: CommandRunner | None = None,
        enclosure: Enclosure | None = None,
    ) -> None:
        self._root = root.absolute()
        self._clock = clock
        self._settings = settings or ProcessSettings()
        self._processes = processes or system_processes()
        self._runner = runner or SystemRunner({"PATH": os.defpath, "LANG": "C.UTF-8"})
        self._enclosure = enclosure or Bare(self.name)

    @property
    def name(self) -> str:
        """See ``Runtime.name``."""
        return "process"

    def look(self) -> Mapping[str, JailFacts]:
        """See ``Runtime.look``. Takes no lock.

        Reads the process table once, and a few small files per jail. A jail that runs without
        its directory is ``ORPHANED``; so is one of which more runs than its records say.
        """
        census = self._census()
        lost = {*census, *self._enclosure.names()}
        directories = map(self._directory, sorted({*self._names_on_disk(), *lost}))
        found = {
            each: Findings(each, self._processes).facts(census.get(each.name))
            for each in directories
            if each.is_ours() or each.name in lost
        }
        kept = (directory for directory, facts in found.items() if facts.state in _KEPT)
        damaged = self._enclosure.damaged(kept)
        return {
            facts.name: replace(facts, program_digest="") if facts.name in damaged else facts
            for facts in found.values()
        }

    def ensure(self, spec: JailSpec) -> None:
        """See ``Runtime.ensure``. Returns when the program has run for ``settle_s``.

        Raises ``JailError`` with the last lines of the log if it ended before; its keeper goes
        on by the restart policy all the same.
        """
        refuse_bad_spec(spec)
        self._enclosure.refuse(spec)
        with self._made_and_held(spec.name) as directory:
            _refuse_foreign(directory)
            # What no record tells of can only be where no keeper is on record: no need to search.
            facts = Findings(directory, self._processes).facts()
            is_kept = facts.state in _KEPT
            is_equal = is_kept and facts.program_digest == spec.program_digest()
            if is_equal:
                self._enclosure.mend(directory)
            if is_equal and not self._enclosure.damaged([directory]):
                self._place(directory, spec)
                return
            self._end(directory)
            self._place(directory, spec)
            self._launch(directory, spec)

    def update_files(self, spec: JailSpec) -> None:
        """See ``Runtime.update_files``; raises ``JailError`` if there is no such jail.

        If data/ was deleted it is made again; but the program still runs in the one that is gone,
        so ``look`` shows it without a program digest, and ``ensure`` replaces it.
        """
        refuse_bad_spec(spec)
        self._enclosure.refuse(spec)
        with self._held(spec.name) as directory:
            if directory is None:
                raise JailError(spec.name, "there is no such jail", "start it first")
            self._place(directory, spec)

    def stop(self, name: str) -> None:
        """See ``Runtime.stop``; a jail that does not exist is stopped."""
        with self._held_or_lost(name) as directory:
            if directory is not None:
                self._end(directory)

    def remove(self, name: str) -> None:
        """See ``Runtime.remove``; a jail that does not exist is removed."""
        with self._held_or_lost(name) as directory:
            if directory is not None:
                self._end(directory)
                if directory.is_ours():
                    _delete(directory)

    def rename(self, former: str, name: str) -> None:
        """See ``Runtime.rename``: it has happened with one rename(2), or not at all."""
        refuse_bad_rename(former, name)
        with self._held(former) as directory:
            self._refuse_running(self._directory(former), "stop it first")
            if directory is None:
                return
            with self._emptied_and_held(name) as target:
                self._end(directory)
                directory.make_data()
                assignment = directory.assignment()
                if assignment is not None:
                    directory.write_assignment(assignment.without_program())
                strip(directory, (directory.data, directory.snapshots, directory.assignment_file))
                hand_over(directory, target)

    def data_path(self, name: str) -> Path:
        """See ``Runtime.data_path``; it need not exist."""
        if not is_jail_name(name):
            raise JailError(repr(name), "is no name for a jail")
        return self._directory(name).data

    def logs(self, name: str, lines: int) -> list[str]:
        """See ``Runtime.logs``."""
        if not is_jail_name(name) or not self._directory(name).is_ours():
            return []
        return last_lines(self._directory(name).log, lines)

    def exec(self, name: str, command: tuple[str, ...], timeout_s: float = EXEC_TIMEOUT_S) -> str:
        """Refused: there is no inside to run it in."""
        del command, timeout_s
        raise cannot(name, self.name, "run a command inside a jail")

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        """See ``Runtime.hook``. Takes no lock: it may take long, and holds nobody up."""
        directory = self._directory(name)
        if not is_jail_name(name) or not directory.is_ours():
            return False
        assignment = directory.assignment()
        command = () if assignment is None else assignment.hooks.command(kind)
        pid = Findings(directory, self._processes).facts().pid
        if assignment is None or not command or pid is None:
            return False
        where = (name, kind, assignment.hooks.timeout_s + extra_s)
        try:
            environment = surroundings_of(directory, assignment)
        except OSError as error:
            raise HookFailed(name, kind, error.strerror or str(error)) from error
        self._run_hook(where, pid, command, environment)
        return True

    def _run_hook(
        self,
        where: tuple[str, HookKind, float],
        pid: int,
        command: tuple[str, ...],
        environment: Mapping[str, str],
    ) -> None:
        """Run it beside the program ``pid``; raises ``JailError``."""
        del pid
        data = self._directory(where[0]).data
        words = tuple(word.replace("{data}", str(data)) for word in command)
        run_hook(where, words, environment, data)

    def usage(self, name: str) -> JailUsage:
        """Refused: what leaves the program's group would not be counted."""
        raise cannot(name, self.name, "measure a jail")

    def snapshots(self, name: str) -> list[str]:
        """See ``Runtime.snapshots``."""
        is_known = is_jail_name(name) and self._directory(name).is_ours()
        return Snapshots(self._directory(name)).labels() if is_known else []

    def snapshot(self, name: str, label: str) -> None:
        """See ``Runtime.snapshot``."""
        with self._at_rest(name) as directory:
            Snapshots(directory).take(label)

    def restore(self, name: str, label: str) -> None:
        """See ``Runtime.restore``."""
        with self._at_rest(name) as directory:
            Snapshots(directory).restore(label)

    def export(self, name: str, archive: Path) -> None:
        """See ``Runtime.export``."""
        with self._at_rest(name) as directory:
            Snapshots(directory).export(archive)

    def import_archive(self, name: str, archive: Path) -> None:
        """See ``Runtime.import_archive``."""
        with self._at_rest(name) as directory:
            Snapshots(directory).import_archive(archive)

    @contextmanager
    def _at_rest(self, name: str) -> Iterator[JailDirectory]:
        """The jail's directory, held; raises ``JailError`` if it runs or is not there."""
        with self._held_or_lost(name) as directory:
            if directory is None or not directory.is_ours():
                raise JailError(name, "there is no such jail", "start it first")
            self._refuse_running(directory, "stop it first")
            directory.make_data()
            yield directory

    def _refuse_running(self, directory: JailDirectory, hint: str) -> None:
        """Raise ``JailError`` if anything runs of that jail, on record or not."""
        presence = self._census().get(directory.name)
        if Findings(directory, self._processes).facts(presence).state not in AT_REST:
            raise JailError(directory.name, "it runs", hint)

    def _directory(self, name: str) -> JailDirectory:
        return JailDirectory(self._root / name)

    def _names_on_disk(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from filter(is_jail_name, os.listdir(self._root))

    def _census(self) -> Mapping[str, Presence]:
        return take_census(self._root, self._processes)

    def _end(self, directory: JailDirectory) -> None:
        """Call off any keeper that is on its way, then end what runs, and say so."""
        assignment = directory.assignment()
        if assignment is not None:
            directory.write_assignment(assignment.next_launch())
        lost_s = self._settings.lost_deadline_s
        deadline_s = assignment.stop_deadline_s if assignment else lost_s
        patience = Patience(deadline_s, self._settings.keeper_patience_s)
        Ending(directory, self._clock, self._processes, patience).run()
        if directory.is_ours():
            self._enclosure.leave(directory)
            directory.remove_leftovers()
        report = directory.report()
        if report is not None and report.state is not JailState.STOPPED:
            directory.write_report(_stopped(report))

    def _place(self, directory: JailDirectory, spec: JailSpec) -> None:
        """Bring the files to what ``spec`` says.

        Old and new ones are on record before any is touched, so a crash forgets none.
        """
        directory.make_data()
        before = directory.assignment()
        assignment = before or self._assignment(spec, launch=0)
        wanted = tuple(file.path for file in spec.files)
        stale = tuple(sorted(set(assignment.files) - set(wanted)))
        if before is None or before.files != (*wanted, *stale):
            directory.write_assignment(replace(assignment, files=(*wanted, *stale)))
        remove_files(directory, stale)
        place_files(directory, spec.files)
        self._enclosure.own(spec, directory)
        if stale:
            directory.write_assignment(replace(assignment, files=wanted))

    def _launch(self, directory: JailDirectory, spec: JailSpec) -> None:
        """Start a keeper and wait for its news; raises ``JailError``."""
        before = directory.assignment()
        launch = before.launch + 1 if before else 1
        command, environment = self._enclosure.enter(spec, directory)
        assignment = self._assignment(spec, launch)
        directory.write_assignment(replace(assignment, command=command, environment=environment))
        deadline = self._clock.monotonic() + self._settings.start_deadline_s
        logged = log_size(directory.log)
        while True:
            try:
                self._run_keeper(directory, launch)
            except CommandFailed as failed:
                is_refused = failed.exit_status == _LAUNCH_REFUSED
                # Only a keeper that comes too late can have the lock now, and that for a moment.
                if is_refused and self._clock.monotonic() < deadline:
                    self._clock.sleep(_LOOK_AGAIN_S)
                    continue
                raise self._did_not_start(directory, failed, logged) from failed
            return

    def _run_keeper(self, directory: JailDirectory, launch: int) -> None:
        self._runner.run(
            *(sys.executable, "-I", "-m", "jails.keeper"),
            *(str(directory.path), str(launch)),
            timeout_s=self._settings.start_deadline_s,
        )

    def _did_not_start(
        self, directory: JailDirectory, failed: CommandFailed, logged: int
    ) -> JailError:
        if failed.exit_status == _PROGRAM_ENDED:
            last = " | ".join(last_lines(directory.log, _TAIL_LINES, since=logged))
            hint = f"it wrote: {last}" if last else "it wrote nothing"
            return JailError(directory.name, f"ended at once: {failed.stderr.strip()}", hint)
        if failed.exit_status is None:
            self._end(directory)
            return JailError(directory.name, "did not start in time", "the machine is overloaded")
        said = failed.stderr.strip().splitlines()
        what = said[-1] if said else f"exit status {failed.exit_status}"
        return JailError(directory.name, f"its keeper did not start: {what}")

    def _assignment(self, spec: JailSpec, launch: int) -> Assignment:
        return Assignment(
            launch=launch,
            program_digest=spec.program_digest(),
            command=spec.command,
            environment=spec.environment,
            restart=spec.restart,
            stop_deadline_s=spec.stop_deadline_s,
            files=tuple(file.path for file in spec.files),
            log_bytes=self._settings.log_bytes,
            settle_s=self._settings.settle_s,
            watch_s=self._settings.watch_s,
            secrets="" if spec.secrets is None else spec.secrets.path,
            hooks=spec.hooks,
        )

    @contextmanager
    def _made_and_held(self, name: str) -> Iterator[JailDirectory]:
        """The directory of that name, made if it is missing, with nobody else at work on it.

        It is ours, unless something else lies there.
        """
        with self._made(name) as directory:
            if directory.is_ours() or not os.listdir(directory.path):
                directory.claim()
            yield directory

    @contextmanager
    def _emptied_and_held(self, name: str) -> Iterator[JailDirectory]:
        """An empty directory of that name, to be replaced; a removal that broke off is finished.

        Raises ``JailError`` if a jail of that name has something to lose.
        """
        with self._made(name) as directory:
            try:
                self._refuse_running(directory, "remove it first")
                if os.listdir(directory.path):
                    _refuse_foreign(directory)
                if directory.has_data():
                    raise taken(name)
                if directory.is_ours():
                    self._end(directory)
                    strip(directory)
                    directory.disclaim()
                yield directory
            finally:
                with suppress(OSError):  # only an empty one is nobody's
                    directory.path.rmdir()

    @contextmanager
    def _made(self, name: str) -> Iterator[JailDirectory]:
        """The directory of that name, made if it is missing, with nobody else at work on it."""
        directory = self._directory(name)
        with _blaming(name), ExitStack() as held:
            make_private_directory(self._root)
            while True:
                directory.path.mkdir(mode=0o700, exist_ok=True)
                with suppress(FileNotFoundError):  # removed by another process meanwhile
                    held.enter_context(self._lock(directory))
                    break
            yield directory

    @contextmanager
    def _held(self, name: str) -> Iterator[JailDirectory | None]:
        """The jail's directory with nobody else at work on it; None if there is no such jail."""
        directory = self._directory(name)
        if not is_jail_name(name) or not directory.is_ours():
            yield None
            return
        with _blaming(name), ExitStack() as held:
            try:
                held.enter_context(self._lock(directory))
            except FileNotFoundError:
                yield None
            else:
                yield directory if directory.is_ours() else None

    @contextmanager
    def _held_or_lost(self, name: str) -> Iterator[JailDirectory | None]:
        """Like ``_held``; a jail that runs without its directory gets one, to be held."""
        with self._held(name) as directory:
            if directory is not None or name not in {*self._census(), *self._enclosure.names()}:
                yield directory
                return
        with self._made_and_held(name) as directory:
            yield directory

    def _lock(self, directory: JailDirectory) -> AbstractContextManager[None]:
        return locked_directory(directory.path, self._clock, self._settings.busy_deadline_s)


@contextmanager
def _blaming(name: str) -> Iterator[None]:
    """Errors of the machine, told as the jail's."""
    try:
        yield
    except AlreadyLocked as error:
        raise JailError(name, error.what, error.hint) from error
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise JailError(name, f"{error.strerror or error}{where}") from error


def _refuse_foreign(directory: JailDirectory) -> None:
    if not directory.is_ours():
        what = f"{directory.path} is in the way, and not ours"
        raise JailError(directory.name, what, "move it elsewhere")


def _stopped(report: Report) -> Report:
    nothing = replace(report, keeper=None, program=None, place="", started_at=None)
    return replace(nothing, state=JailState.STOPPED)


def _delete(directory: JailDirectory) -> None:
    """The mark goes last, so that what a crash leaves is still known to be ours."""
    strip(directory)
    directory.disclaim()
    directory.path.rmdir()
