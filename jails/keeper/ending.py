"""Ending whatever runs of a jail: its keeper, or what a killed keeper left behind.

Signals go only to processes that match their mark, or, where the first of a group is gone, that
were demonstrably started for this jail: they carry its writable part as ``HOME``.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from jails.runtime import JailError
from maculaos.host.locks import is_locked

if TYPE_CHECKING:
    from jails.keeper.records import JailDirectory, Report
    from maculaos.host.clock import Clock
    from maculaos.host.processes import ProcessMark, ProcessTable

_LOOK_AGAIN_S = 0.02
# After SIGKILL a process is gone within moments, unless the kernel itself is stuck.
_FORCE_S = 5.0


class Ending:
    """One attempt to end what runs of ``directory``, within ``deadline_s`` and then by force."""

    def __init__(
        self, directory: JailDirectory, clock: Clock, processes: ProcessTable, deadline_s: float
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._processes = processes
        self._force_at = clock.monotonic() + deadline_s
        self._asked: set[ProcessMark] = set()

    def run(self) -> None:
        """Return when nothing is left; raises ``JailError`` if something will not end."""
        while self._advance():
            if self._clock.monotonic() > self._force_at + _FORCE_S:
                raise JailError(
                    self._directory.name,
                    "does not end, not even by force",
                    f"see who holds it: fuser {self._directory.lock}",
                )
            self._clock.sleep(_LOOK_AGAIN_S)

    def _advance(self) -> bool:
        """Signal who is left; whether anybody was."""
        report = self._directory.report()
        left = _left_of(self._directory, report, self._processes)
        for process in left:
            self._end(process, is_keeper=report is not None and process == report.keeper)
        return bool(left) or is_locked(self._directory.lock)

    def _end(self, process: ProcessMark, *, is_keeper: bool) -> None:
        # A keeper brings its program down by force itself; it only dies by force if it is stuck.
        patience_s = _FORCE_S / 2 if is_keeper else 0.0
        if self._clock.monotonic() >= self._force_at + patience_s:
            self._processes.signal(process, signal.SIGKILL)
        elif process not in self._asked:
            self._asked.add(process)
            self._processes.signal(process, signal.SIGTERM)


def _left_of(
    directory: JailDirectory, report: Report | None, processes: ProcessTable
) -> tuple[ProcessMark, ...]:
    """The keeper alone while it lives, since the rest is its work; then the program's group."""
    if report is None:
        return ()
    if report.keeper is not None and processes.is_alive(report.keeper):
        return (report.keeper,)
    if report.program is None:
        return ()
    return _group_of(report.program, str(directory.data), processes)


def _group_of(program: ProcessMark, home: str, processes: ProcessTable) -> tuple[ProcessMark, ...]:
    first = processes.mark(program.pid)
    if first is not None and first != program:
        return ()  # the number belongs to a stranger now, so our group is gone
    group = processes.session(program.pid)
    if first is not None:
        return group
    return tuple(process for process in group if processes.home(process) == home)
