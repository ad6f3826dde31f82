"""Ending whatever runs of a jail: its keeper, or what is left without one.

Signals go only to processes that match their mark: those on record with their group, those that
the process table shows to be of this jail (``jails.keeper.census``), whatever is below any of
them, and at last who holds the lock that only a keeper passes on.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jails.keeper.census import Presence, take_census
from jails.runtime import JailError
from maculaos.host.locks import is_locked

if TYPE_CHECKING:
    from jails.keeper.records import JailDirectory
    from maculaos.host.clock import Clock
    from maculaos.host.processes import ProcessMark, ProcessTable

_LOOK_AGAIN_S = 0.02
# After SIGKILL a process is gone within moments, unless the kernel itself is stuck.
_FORCE_S = 2.5


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds from the request to end until force is used; a keeper has ``keeper_s`` more."""

    program_s: float
    # A keeper brings its program down by force itself: it only dies by force if it is stuck.
    keeper_s: float = 2.5


class Ending:
    """One attempt to end what runs of ``directory``, by request and then by force."""

    def __init__(
        self, directory: JailDirectory, clock: Clock, processes: ProcessTable, patience: Patience
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._processes = processes
        self._force_program_at = clock.monotonic() + patience.program_s
        self._force_keeper_at = self._force_program_at + patience.keeper_s
        # Everybody that was met and may still live, with the time from which on force is used.
        self._met: dict[ProcessMark, float] = {}
        self._asked: set[ProcessMark] = set()

    def run(self) -> None:
        """Return when nothing is left; raises ``JailError`` if something will not end."""
        while self._advance():
            if self._clock.monotonic() > self._force_keeper_at + _FORCE_S:
                raise JailError(
                    self._directory.name,
                    "does not end, not even by force",
                    f"see who holds it: fuser {self._directory.lock}",
                )
            self._clock.sleep(_LOOK_AGAIN_S)

    def _advance(self) -> bool:
        """Signal who is left; whether anybody was.

        Who was met is waited for until it is dead: a process that exits shows neither command
        line nor environment any more, while its ports may still be open.
        """
        for process, force_at in self._left().items():
            self._met.setdefault(process, force_at)
        self._met = {
            process: force_at
            for process, force_at in self._met.items()
            if self._processes.is_alive(process)
        }
        for process, force_at in self._met.items():
            self._end(process, force_at)
        return bool(self._met) or is_locked(self._directory.lock)

    def _left(self) -> dict[ProcessMark, float]:
        """Who is to end, and when by force. The rest is a living keeper's work."""
        presence = Presence()
        keepers = self._keepers_on_record()
        if not keepers:
            presence = self._presence()
            keepers = tuple(presence.keepers)
        if keepers:
            return dict.fromkeys(keepers, self._force_keeper_at)
        programs = (*self._group_on_record(), *presence.programs)
        below = (each for program in programs for each in self._processes.descendants(program.pid))
        return dict.fromkeys((*programs, *below) or self._holders(), self._force_program_at)

    def _holders(self) -> tuple[ProcessMark, ...]:
        """Who inherited the keeper's lock and shows no other sign of the jail any more."""
        lock = self._directory.lock
        return self._processes.holders(lock) if is_locked(lock) else ()

    def _end(self, process: ProcessMark, force_at: float) -> None:
        is_forced = self._clock.monotonic() >= force_at
        if is_forced or process not in self._asked:
            self._asked.add(process)
            with suppress(PermissionError):  # it became another user: told if it does not end
                self._processes.signal(process, signal.SIGKILL if is_forced else signal.SIGTERM)

    def _presence(self) -> Presence:
        census = take_census(self._directory.path.parent, self._processes)
        return census.get(self._directory.name, Presence())

    def _keepers_on_record(self) -> tuple[ProcessMark, ...]:
        report = self._directory.report()
        keeper = report.keeper if report else None
        return (keeper,) if keeper and self._processes.is_alive(keeper) else ()

    def _group_on_record(self) -> tuple[ProcessMark, ...]:
        """If its first is gone, the number may be a stranger's: then the census must do."""
        report = self._directory.report()
        program = report.program if report else None
        is_ours = program is not None and self._processes.mark(program.pid) == program
        return self._processes.session(program.pid) if program and is_ours else ()
