"""Jails of FreeBSD: each program in a jail(8), with its own root folder and a loop that keeps it.

The runtime remembers nothing: it looks at jails, mounts, interfaces and rules, so it repairs what
a crash of any earlier one left. A jail is never modified; one that differs is taken away and
made anew. What a program may touch, and how the network is made, is in the spec.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jails.freebsd import jail, rctl, render
from jails.freebsd.abilities import SEARCH_PATH, probe
from jails.freebsd.admission import is_plain_path, refuse_unsupported
from jails.freebsd.findings import facts_of, state_of
from jails.freebsd.kernel import Kernel
from jails.freebsd.making import Maker
from jails.freebsd.network import NetworkMaker
from jails.freebsd.place import KERNEL_PREFIX, Place, Record
from jails.freebsd.storage import Storages
from jails.freebsd.unreadable import UnreadableAnswer
from jails.hooks import HookFailed
from jails.keeper.placing import place_files, remove_files
from jails.naming import collisions, derive
from jails.renaming import hand_over, strip
from jails.runtime import (
    EXEC_TIMEOUT_S,
    JailError,
    is_jail_name,
    refuse_bad_rename,
    refuse_bad_spec,
    taken,
)
from jails.spec import AT_REST, JailFacts, JailState, JailUsage, NetworkKind
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed, SystemRunner
from maculaos.host.files import AlreadyLocked, make_private_directory
from maculaos.host.locks import locked_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jails.freebsd.abilities import Abilities
    from jails.freebsd.storage import Storage
    from jails.spec import HookKind, JailSpec
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

_KEPT = (JailState.RUNNING, JailState.BACKING_OFF)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeBsdSettings:
    """Deadlines of the FreeBSD runtime, and the system that its jails share."""

    # The system that a jail without a base of its own sees, read-only.
    system: Path = Path("/")
    # A program that ends within this counts as ended at once; every start takes that long.
    settle_s: float = 0.5
    # Until another process that works on the same jail must be done.
    busy_deadline_s: float = 60.0


class FreeBsdRuntime:
    """A ``Runtime`` of jails under ``root``; raises ``UsageError`` for a path with blanks."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        settings: FreeBsdSettings | None = None,
        *,
        runner: CommandRunner | None = None,
        abilities: Abilities | None = None,
    ) -> None:
        self._root = root.absolute()
        if not is_plain_path(str(self._root)):
            what = f"{self._root} cannot be the root of jails"
            raise UsageError(what, "use a path of letters, digits, dots, dashes and underscores")
        self._clock = clock
        self._settings = settings or FreeBsdSettings()
        self._runner = runner or SystemRunner({"PATH": SEARCH_PATH, "LANG": "C.UTF-8"})
        self.abilities = abilities or probe(self._runner)
        self._kernel = Kernel(self._runner, clock)
        self._network = NetworkMaker(self._runner, self._kernel)
        self._storages = Storages(self._runner, clock)
        self._maker = Maker(self._runner, clock, self._kernel, self._network)

    @property
    def name(self) -> str:
        """See ``Runtime.name``."""
        return "jail"

    def look(self) -> Mapping[str, JailFacts]:
        """See ``Runtime.look``: one jls(8), one ps(1) for each jail that lives."""
        places = {place.name: place for place in self._places()}
        living: set[str] = set()
        for row in self._kernel.rows():
            name = row.name.removeprefix(KERNEL_PREFIX)
            place = self._place(name)
            is_named = row.name.startswith(KERNEL_PREFIX) and is_jail_name(name)
            if is_named and row.path == str(place.root) and not row.is_dying:
                living.add(name)
                places.setdefault(name, place)
        return {
            name: facts_of(place, self._runner, is_living=name in living)
            for name, place in sorted(places.items())
        }

    def ensure(self, spec: JailSpec) -> None:
        """See ``Runtime.ensure``. Returns when the program has run for ``settle_s``.

        Raises ``JailError`` with the last lines of its log if it ended before; its loop goes on
        by the restart policy all the same.
        """
        refuse_bad_spec(spec)
        with self._blaming(spec.name), ExitStack() as held:
            refuse_unsupported(spec, self.abilities, self._addresses(spec.name))
            self._refuse_collisions(spec.name)
            place = self._place(spec.name)
            self._kernel.refuse_stranger(place)
            self._hold_made(place, held)
            facts = facts_of(place, self._runner, is_living=self._kernel.is_living(place))
            if facts.state in _KEPT and facts.program_digest == spec.program_digest():
                self._put_files(place, spec, is_living=True)
                self._network.make_rules(spec, place)
                return
            self._clear(place)
            self._put_files(place, spec, is_living=False)
            place.write_record(_record(spec, digest=spec.program_digest()))
            self._maker.make(place, spec, self._settings.system)
            self._maker.check(place, self._settings.settle_s)

    def update_files(self, spec: JailSpec) -> None:
        """See ``Runtime.update_files``; raises ``JailError`` if there is no such jail."""
        refuse_bad_spec(spec)
        with self._blaming(spec.name), self._held(spec.name) as place:
            if place is None:
                raise JailError(spec.name, "there is no such jail", "start it first")
            is_living = self._kernel.is_living(place)
            self._put_files(place, spec, is_living=is_living)

    def stop(self, name: str) -> None:
        """See ``Runtime.stop``; a jail that does not exist is stopped."""
        with self._blaming(name), self._held(name) as place:
            if place is not None:
                self._clear(place)

    def remove(self, name: str) -> None:
        """See ``Runtime.remove``; a jail that does not exist is removed."""
        with self._blaming(name), self._held(name) as place:
            if place is not None:
                self._clear(place)
                self._delete(place)

    def rename(self, former: str, name: str) -> None:
        """See ``Runtime.rename``: it has happened when the folder has moved; a dataset follows."""
        refuse_bad_rename(former, name)
        with self._blaming(former), self._held(former) as place:
            if place is None:
                self._finish_moves_from(former)
                return
            is_living = self._kernel.is_living(place)
            if facts_of(place, self._runner, is_living=is_living).state not in AT_REST:
                raise JailError(former, "it runs", "stop it first")
            with self._emptied_and_held(name) as target:
                self._clear(place)
                self._hand_over(place, target)
                self._storages.settle(target)

    def data_path(self, name: str) -> Path:
        """See ``Runtime.data_path``; it need not exist."""
        if not is_jail_name(name):
            raise JailError(repr(name), "is no name for a jail")
        return self._place(name).directory.data

    def logs(self, name: str, lines: int) -> list[str]:
        """See ``Runtime.logs``."""
        is_known = is_jail_name(name) and self._place(name).directory.is_ours()
        return self._place(name).last_lines(lines) if is_known else []

    def exec(self, name: str, command: tuple[str, ...], timeout_s: float = EXEC_TIMEOUT_S) -> str:
        """See ``Runtime.exec``; it runs as root of the jail."""
        with self._blaming(name):
            place = self._living(name)
            argv = jail.jexec_argv(place.kernel_name, *command)
            return self._runner.run(*argv, timeout_s=timeout_s)

    def hook(self, name: str, kind: HookKind, extra_s: float = 0.0) -> bool:
        """See ``Runtime.hook``."""
        place = self._place(name)
        script = place.launch / render.hook_file(kind)
        if not is_jail_name(name) or not script.is_file():
            return False
        with self._blaming(name):
            record = place.record()
            is_living = self._kernel.is_living(place)
            if record is None or not is_living or state_of(place, self._runner)[1] is None:
                return False
        argv = jail.jexec_as_argv(
            place.kernel_name, record.user, "/bin/sh", f"{render.LAUNCH}/{script.name}"
        )
        try:
            self._runner.run(*argv, timeout_s=record.hook_timeout_s + extra_s)
        except CommandFailed as failed:
            is_late = failed.exit_status is None
            how = "did not end in time" if is_late else f"exit status {failed.exit_status}"
            raise HookFailed(name, kind, f"{how}: {failed.stderr.strip()[:300]}") from failed
        return True

    def usage(self, name: str) -> JailUsage:
        """See ``Runtime.usage``; the network is told of a jail that has one of its own."""
        with self._blaming(name):
            place = self._living(name)
            used = self._used(place)
            traffic = self._network.traffic(place)
            return JailUsage(
                memory_bytes=used.get("memoryuse"),
                cpu_s=used.get("cputime"),
                processes=used.get("maxproc"),
                open_files=used.get("openfiles"),
                received_bytes=traffic.received if traffic else None,
                sent_bytes=traffic.sent if traffic else None,
            )

    def snapshots(self, name: str) -> list[str]:
        """See ``Runtime.snapshots``."""
        with self._blaming(name):
            if not is_jail_name(name) or not self._place(name).directory.is_ours():
                return []
            if self._place(name).moved_from():
                self._finish_moves_from(self._place(name).moved_from())
            return self._storages.of(self._place(name)).labels()

    def snapshot(self, name: str, label: str) -> None:
        """See ``Runtime.snapshot``."""
        with self._at_rest(name) as kept:
            kept.take(label)

    def restore(self, name: str, label: str) -> None:
        """See ``Runtime.restore``."""
        with self._at_rest(name) as kept:
            kept.restore(label)

    def export(self, name: str, archive: Path) -> None:
        """See ``Runtime.export``."""
        with self._at_rest(name) as kept:
            kept.export(archive)

    def import_archive(self, name: str, archive: Path) -> None:
        """See ``Runtime.import_archive``."""
        with self._at_rest(name) as kept:
            kept.import_archive(archive)

    def _used(self, place: Place) -> Mapping[str, int]:
        """What the kernel counted; nothing where it does not count."""
        if not self.abilities.has_limits:
            return {}
        return rctl.parse_usage(self._runner.run(*rctl.usage_argv(place.kernel_name)))

    def _living(self, name: str) -> Place:
        place = self._place(name)
        if not is_jail_name(name) or not self._kernel.is_living(place):
            raise JailError(name, "it does not run", "start it first")
        return place

    @contextmanager
    def _at_rest(self, name: str) -> Iterator[Storage]:
        """The storage of a jail that is held; raises ``JailError`` if it runs or is not there."""
        with self._blaming(name), self._held(name) as place:
            if place is None:
                raise JailError(name, "there is no such jail", "start it first")
            # A mount of the writable part would move with it.
            if self._kernel.is_living(place) or self._kernel.mounts_of(place):
                raise JailError(name, "it runs", "stop it first")
            storage = self._storages.of(place)
            storage.make()
            yield storage

    def _place(self, name: str) -> Place:
        return Place(self._root / name)

    def _places(self) -> list[Place]:
        try:
            names = sorted(filter(is_jail_name, os.listdir(self._root)))
        except FileNotFoundError:
            return []
        return [place for place in map(self._place, names) if place.directory.is_ours()]

    def _addresses(self, but: str) -> dict[str, str]:
        """The addresses of all jails on record, except one."""
        records = {place.name: place.record() for place in self._places() if place.name != but}
        return {name: record.address for name, record in records.items() if record}

    def _refuse_collisions(self, name: str) -> None:
        names = {name, *(place.name for place in self._places())}
        for collision in collisions(derive(each) for each in sorted(names)):
            if name in collision.jails:
                others = ", ".join(each for each in collision.jails if each != name)
                what = f"its derived name {collision.name} is also that of {others}"
                raise JailError(name, what, "take another name")

    def _put_files(self, place: Place, spec: JailSpec, *, is_living: bool) -> None:
        """Bring the files to what ``spec`` says; old and new are on record before any changes."""
        self._storages.of(place).make()
        record = place.record() or _record(spec, digest="")
        wanted = tuple(file.path for file in spec.files)
        stale = tuple(sorted(set(record.files) - set(wanted)))
        if record != place.record() or record.files != wanted:
            place.write_record(replace(record, files=(*wanted, *stale)))
        remove_files(place.directory, stale)
        place_files(place.directory, spec.files)
        if stale:
            place.write_record(replace(record, files=wanted))
        if is_living and spec.isolation.user:
            argv = render.own_argv(spec.isolation.user)
            self._runner.run(*jail.jexec_argv(place.kernel_name, *argv))

    def _clear(self, place: Place) -> None:
        """Take the jail out of the kernel, and say how its program ended if one ran."""
        record = place.record()
        is_living = self._kernel.is_living(place)
        had_program = is_living and state_of(place, self._runner)[1] is not None
        begun = self._clock.monotonic()
        self._kernel.clear(place, record)
        if record is None:
            return
        # jail(8) asks with SIGTERM, and after stop.timeout the kernel ends whatever is left.
        is_late = self._clock.monotonic() - begun >= max(1.0, record.stop_deadline_s)
        ended = f"killed by {'SIGKILL' if is_late else 'SIGTERM'}"
        last_exit = ended if had_program else record.last_exit
        after = replace(
            record, epair=None, bridge="", last_exit=last_exit, address="", shared_interface=""
        )
        if after != record:
            place.write_record(after)

    def _delete(self, place: Place) -> None:
        """The mark goes last, so that what a crash leaves is still known to be ours."""
        self._kernel.refuse_mounted(place)
        self._storages.of(place).destroy()
        strip(place.directory)
        place.directory.disclaim()
        place.path.rmdir()

    def _hand_over(self, place: Place, target: Place) -> None:
        """Move the folder of a jail that is cleared; what lies outside of it is noted before."""
        self._kernel.refuse_mounted(place)
        record, directory = place.record(), place.directory
        if record is not None:
            place.write_record(record.without_program())
        has_outside = self._storages.of(place).release()
        strip(directory, (directory.data, directory.snapshots, place.record_file))
        if has_outside:
            place.note_move()
        hand_over(directory, target.directory)

    @contextmanager
    def _emptied_and_held(self, name: str) -> Iterator[Place]:
        """An empty folder of that name, to be replaced; a removal that broke off is finished.

        Raises ``JailError`` if a jail of that name has something to lose.
        """
        place = self._place(name)
        self._kernel.refuse_stranger(place)
        if self._kernel.is_living(place):
            raise JailError(name, "it runs", "remove it first")
        with ExitStack() as held:
            self._hold_folder(place, held)
            try:
                if place.directory.has_data() or self._storages.has_outside(place):
                    raise taken(name)
                if place.directory.is_ours():
                    self._clear(place)
                    self._kernel.refuse_mounted(place)
                    strip(place.directory)
                    place.directory.disclaim()
                yield place
            finally:
                with suppress(OSError):  # only an empty one is nobody's
                    place.path.rmdir()

    def _finish_moves_from(self, former: str) -> None:
        """Before the name is used again: what was given away must be out of its dataset."""
        for place in self._places():
            if place.moved_from() == former:
                with self._held(place.name):
                    pass

    def _hold_made(self, place: Place, held: ExitStack) -> None:
        """The jail's folder, made if it is missing, with nobody else at work on it."""
        self._hold_folder(place, held)
        place.directory.claim()
        self._storages.settle(place)

    def _hold_folder(self, place: Place, held: ExitStack) -> None:
        """A folder that is the jail's, or empty, with nobody else at work on it."""
        make_private_directory(self._root)
        self._finish_moves_from(place.name)
        while True:
            place.path.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileNotFoundError):  # removed by another process meanwhile
                held.enter_context(self._lock(place))
                break
        if not place.directory.is_ours() and os.listdir(place.path):
            raise JailError(place.name, f"{place.path} is in the way, and not ours", "move it")

    @contextmanager
    def _held(self, name: str) -> Iterator[Place | None]:
        """The place with nobody else at work on it; None if there is no such jail."""
        place = self._place(name)
        if not is_jail_name(name):
            yield None
            return
        with ExitStack() as held:
            if place.directory.is_ours():
                with suppress(FileNotFoundError):
                    held.enter_context(self._lock(place))
                    self._storages.settle(place)
            elif self._kernel.is_living(place):
                # Its folder is gone and the jail is not: it is made again, to be taken away.
                self._hold_made(place, held)
            yield place if place.directory.is_ours() else None

    def _lock(self, place: Place) -> AbstractContextManager[None]:
        return locked_directory(place.path, self._clock, self._settings.busy_deadline_s)

    @contextmanager
    def _blaming(self, name: str) -> Iterator[None]:
        """Errors of the machine, told as the jail's."""
        try:
            yield
        except AlreadyLocked as error:
            raise JailError(name, error.what, error.hint) from error
        except (CommandFailed, UnreadableAnswer, ValueError) as error:
            raise JailError(name, str(error)) from error
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            raise JailError(name, f"{error.strerror or error}{where}") from error


def _record(spec: JailSpec, *, digest: str) -> Record:
    network = spec.isolation.network
    is_shared = network.kind is NetworkKind.SHARED
    return Record(
        program_digest=digest,
        files=tuple(file.path for file in spec.files),
        stop_deadline_s=spec.stop_deadline_s,
        user=spec.isolation.user,
        address=network.address,
        shared_interface=network.interface if is_shared else "",
        hook_timeout_s=spec.hooks.timeout_s,
    )
