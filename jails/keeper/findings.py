"""What records and processes say of a jail, put together: its facts.

Records count as far as those that they name still live. A census, where one was taken, tells of
what runs without any record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.keeper.placing import digest_on_disk
from jails.spec import JailFacts, JailState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.keeper.census import Presence
    from jails.keeper.records import Assignment, JailDirectory, Report
    from maculaos.host.processes import ProcessMark, ProcessTable

_ALIVE = (JailState.RUNNING, JailState.BACKING_OFF, JailState.ORPHANED)


class Findings:
    """The records of one jail as they are now, and what they are worth."""

    def __init__(self, directory: JailDirectory, processes: ProcessTable) -> None:
        self._directory = directory
        self._processes = processes
        self._assignment: Assignment | None = directory.assignment()
        self._report: Report | None = directory.report()

    def facts(self, presence: Presence | None = None) -> JailFacts:
        """What is so; ``presence`` is what a census met of the jail."""
        report = self._report
        state, pid = self._recorded()
        if state is JailState.STOPPED and presence is not None and self._is_lost(presence):
            return self._lost(presence)
        return JailFacts(
            name=self._directory.name,
            state=state,
            program_digest=self._program_digest(state, pid),
            files_digest=self._files_digest(),
            pid=pid,
            started_at=report.started_at if report and pid is not None else None,
            restarts=report.restarts if report else 0,
            last_exit=report.last_exit if report else "",
        )

    def _lost(self, presence: Presence) -> JailFacts:
        """What runs is known to be of this jail, but not from which spec."""
        pids = (program.pid for program in self._living(presence.programs))
        return JailFacts(
            name=self._directory.name,
            state=JailState.ORPHANED,
            files_digest=self._files_digest(),
            pid=next(iter(pids), None),
        )

    def _recorded(self) -> tuple[JailState, int | None]:
        """State and process id of the program, by whether those on record still live."""
        report = self._report
        if report is None:
            return JailState.STOPPED, None
        program, keeper = report.program, report.keeper
        pid = program.pid if program and self._processes.is_alive(program) else None
        if keeper is not None and self._processes.is_alive(keeper):
            is_between = report.state is JailState.RUNNING and pid is None
            return (JailState.BACKING_OFF if is_between else report.state), pid
        if pid is not None:
            return JailState.ORPHANED, pid
        is_for_good = report.state is JailState.FAILED
        return (JailState.FAILED if is_for_good else JailState.STOPPED), None

    def _is_lost(self, presence: Presence) -> bool:
        """Whether something runs that no record tells of.

        A keeper that was just launched has not reported yet, and one that ends has already.
        """
        expected = self._assignment.launch if self._assignment else None
        reported = self._report.keeper if self._report else None
        keepers = (each for each in presence.lost_keepers(expected) if each != reported)
        return bool(self._living((*keepers, *presence.programs)))

    def _living(self, processes: Iterable[ProcessMark]) -> tuple[ProcessMark, ...]:
        """A census is a moment older than the records: who ended meanwhile is left out."""
        return tuple(filter(self._processes.is_alive, processes))

    def _program_digest(self, state: JailState, pid: int | None) -> str:
        """What runs counts; what is only on paper counts where nothing runs.

        A program whose data/ is gone runs as no spec wants it, so it has no digest.
        """
        if self._report is not None and state in _ALIVE:
            is_placed = pid is None or self._report.place == self._directory.place()
            return self._report.program_digest if is_placed else ""
        return self._assignment.program_digest if self._assignment else ""

    def _files_digest(self) -> str:
        files = self._assignment.files if self._assignment else ()
        return digest_on_disk(self._directory, files)
