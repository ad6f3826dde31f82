"""The keeper's loop: start the program, write down what it says, start it again, stop it.

One thread, one ``select``. It decides nothing about restarts (``jails.keeper.supervision``) and
tells its news only through the report and, once, through ``tell`` to whoever launched it.
"""

from __future__ import annotations

import errno
import os
import select
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from jails.keeper.output import BoundedLog
from jails.keeper.records import Report, place_of
from jails.keeper.strays import Strays
from jails.keeper.supervision import Supervision, describe_exit
from jails.keeper.surroundings import surroundings_of
from jails.spec import JailState
from maculaos.host.programs import Launch, start_at_gate
from maculaos.host.reaper import adopt_orphans, has_adopted, kill_adopted, reap_adopted

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.keeper.records import Assignment, JailDirectory
    from maculaos.host.clock import Clock
    from maculaos.host.processes import ProcessMark, ProcessTable
    from maculaos.host.programs import Program

STARTED = "started"

_CHUNK = 65_536
_CHUNKS_AT_ONCE = 16
_REAPED_AT_ONCE = 256
_KILLS_AT_ONCE = 256
# While the rest of a group ends nothing wakes us, so we look; likewise after a failed write.
_LOOK_AGAIN_S = 0.05
_NOT_STARTED = 127


class Supervisor:
    """Keeps the program of one jail until it is told to stop, or the policy lets it rest."""

    def __init__(
        self,
        directory: JailDirectory,
        assignment: Assignment,
        lock: int,
        machine: tuple[Clock, ProcessTable],
        tell: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._assignment = assignment
        self._lock = lock
        self._clock, self._processes = machine
        self._tell = tell
        self._supervision = Supervision(assignment.restart)
        self._log = BoundedLog(directory.log, assignment.log_bytes)
        self._output, self._output_in = os.pipe()
        self._wakeup, self._wakeup_in = os.pipe()
        for handle in (self._output, self._wakeup, self._wakeup_in):
            os.set_blocking(handle, False)
        self._me = self._processes.mark(os.getpid())
        self._strays = Strays(os.getpid(), self._processes, lambda: has_adopted(self._own()))
        self._program: Program | None = None
        self._mark: ProcessMark | None = None
        # The program's data/, kept open so that no other directory can get its number.
        self._data: int | None = None
        self._state = JailState.BACKING_OFF
        self._started_at: float | None = None
        self._last_exit = ""
        self._is_stop_asked = False
        self._is_unreported = False
        # Monotonic seconds; None: nothing to wait for.
        self._start_at: float | None = None
        self._kill_at: float | None = None
        # From when on force is used against what an ended program left; None: it has not ended.
        self._force_at: float | None = None
        self._settled_at: float | None = None

    def run(self) -> None:
        """Keep the program; returns when nothing of it is left."""
        self._listen()
        adopt_orphans()
        self._write_report()
        self._start()
        while self._program is not None or self._start_at is not None:
            self._wait()
            self._step(self._clock.monotonic())
        self._publish()
        self._tell(self._last_exit or "stopped")

    def _listen(self) -> None:
        """Wake up on signals. Handlers, unlike ignoring, are not passed on to the program."""

        def wake(number: int, _frame: object) -> None:
            self._is_stop_asked |= number == signal.SIGTERM

        signal.set_wakeup_fd(self._wakeup_in, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, wake)

    def _wait(self) -> None:
        now = self._clock.monotonic()
        moments = (self._start_at, self._settled_at)
        waits = [moment - now for moment in moments if moment is not None]
        if self._is_unreported or self._kill_at is not None or self._force_at is not None:
            waits.append(_LOOK_AGAIN_S)
        timeout = max(0.0, min([*waits, self._assignment.watch_s]))
        select.select([self._output, self._wakeup], [], [], timeout)
        with suppress(BlockingIOError):
            os.read(self._wakeup, _CHUNK)

    def _step(self, now: float) -> None:
        # Without its place nobody could find us or keep a second copy away: it must not go on.
        self._is_stop_asked |= not self._has_place()
        self._drain()
        reap_adopted(self._own(), _REAPED_AT_ONCE)
        if self._is_unreported:
            self._publish()
        if self._is_stop_asked and self._kill_at is None:
            self._begin_stop(now)
        if self._program is not None and self._program.has_ended():
            self._program_ended(self._program, now)
        elif self._program is not None:
            self._program_lives(self._program, now)
        elif self._start_at is not None and now >= self._start_at:
            self._start()

    def _start(self) -> None:
        """Start the program; its mark is on disk before it runs, so it is never unknown."""
        now = self._clock.monotonic()
        self._start_at = None
        self._supervision.started(now)
        self._started_at = self._clock.now()
        try:
            self._hold_data()
            self._program = start_at_gate(self._launch())
            self._pass_gate(self._program)
        except OSError as error:
            self._could_not_start(error, now)
        else:
            self._settled_at = now + self._assignment.settle_s

    def _hold_data(self) -> None:
        if self._data is not None:
            os.close(self._data)
            self._data = None
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._data = os.open(self._directory.data, flags)

    def _pass_gate(self, program: Program) -> None:
        self._mark = self._processes.mark(program.pid)
        self._state = JailState.RUNNING
        try:
            self._write_report()
        except OSError:
            program.withdraw()
            raise
        program.release()

    def _could_not_start(self, error: OSError, now: float) -> None:
        if self._program is not None:
            self._program.reap()
        what = self._assignment.command[0]
        self._last_exit = f"cannot start {what}: {error.strerror or error}"
        self._rest_or_retry(_NOT_STARTED, now)

    def _begin_stop(self, now: float) -> None:
        self._kill_at = now + self._assignment.stop_deadline_s
        if self._force_at is not None:
            self._force_at = min(self._force_at, self._kill_at)
        self._start_at = self._settled_at = None
        if self._program is not None:
            self._program.signal_group(signal.SIGTERM)
        else:
            self._state = JailState.STOPPED

    def _program_lives(self, program: Program, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at:
            program.signal_group(signal.SIGKILL)
        elif self._settled_at is not None and now >= self._settled_at:
            self._settled_at = None
            self._tell(STARTED)

    def _program_ended(self, program: Program, now: float) -> None:
        """The first of the group ended. When stopping, the rest has its deadline too.

        Otherwise the group is ended at once. Who left it is asked first either way.
        """
        is_waiting = self._kill_at is not None and now < self._kill_at
        if is_waiting and self._processes.session(program.pid):
            return
        if self._force_at is None:
            self._end_group(program)
            self._settled_at = None
            grace_s = self._assignment.stop_deadline_s
            self._force_at = now + grace_s if self._kill_at is None else self._kill_at
        if self._strays.has_any(now, self._force_at):
            if now >= self._force_at:
                kill_adopted(self._own(), _KILLS_AT_ONCE)
            return
        exit_status = program.reap()
        self._drain()
        self._last_exit = describe_exit(exit_status)
        self._rest_or_retry(exit_status, now)

    def _own(self) -> int | None:
        """The one child that was not adopted."""
        return self._program.pid if self._program is not None else None

    def _end_group(self, program: Program) -> None:
        """By force; until its first is reaped, the group's number cannot be anybody else's."""
        deadline = self._clock.monotonic() + 1.0
        program.signal_group(signal.SIGKILL)
        while self._processes.session(program.pid) and self._clock.monotonic() < deadline:
            program.signal_group(signal.SIGKILL)
            self._clock.sleep(0.005)

    def _rest_or_retry(self, exit_status: int, now: float) -> None:
        self._program = self._mark = None
        self._started_at = self._settled_at = self._force_at = None
        wait_s = self._supervision.ended(exit_status, now)
        if self._is_stop_asked:
            self._state = JailState.STOPPED
        elif wait_s is None:
            self._state = JailState.FAILED
        else:
            self._state = JailState.BACKING_OFF
            self._start_at = now + wait_s
        self._publish()
        self._tell(self._last_exit)

    def _has_place(self) -> bool:
        """Whether the lock that we hold is the one that the next keeper would have to take."""
        try:
            return os.path.samestat(os.fstat(self._lock), self._directory.lock.lstat())
        except OSError:
            return False

    def _drain(self) -> None:
        """Move what the program wrote to the log; bounded, so that a flood cannot hold us."""
        for _ in range(_CHUNKS_AT_ONCE):
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                return
            self._log.write(data)

    def _publish(self) -> None:
        """Write the report; on a full disk try again soon, and keep the program meanwhile."""
        try:
            self._write_report()
        except OSError:
            self._is_unreported = True
        else:
            self._is_unreported = False

    def _write_report(self) -> None:
        """Raises ``OSError``, also if what lies there now is not the directory that we keep."""
        if not self._has_place():
            raise FileNotFoundError(errno.ENOENT, "the directory of the jail is gone")
        self._directory.write_report(self._report())

    def _report(self) -> Report:
        return Report(
            keeper=self._me,
            program=self._mark,
            state=self._state,
            program_digest=self._assignment.program_digest,
            place=place_of(os.fstat(self._data)) if self._data is not None and self._mark else "",
            started_at=self._started_at,
            restarts=self._supervision.restarts,
            last_exit=self._last_exit,
        )

    def _launch(self) -> Launch:
        data = str(self._directory.data)
        return Launch(
            command=tuple(word.replace("{data}", data) for word in self._assignment.command),
            environment=surroundings_of(self._directory, self._assignment),
            directory=self._directory.data,
            output=self._output_in,
            inherited=(self._lock,),
        )
