"""Strays: what a program started that left its group, and is still there when the program is not.

They are known by parentage: their keeper adopts whoever loses its parent below it
(``maculaos.host.reaper``), so none can leave its tree. Each is asked to end when it is met, and
ended by force when the time is over. A fork between two looks is met by the next look; since a
process that was killed forks no more, looking again and again comes to an end. What withstands
force for ``FORCE_S``, such as a process that became another user, is given up.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from maculaos.host.processes import ProcessMark, ProcessTable

# Less than what a keeper gets on top of its program's deadline before it counts as stuck
# (``jails.keeper.ending``).
FORCE_S = 1.5


class Strays:
    """Those below the process ``keeper_pid``, once its program has ended.

    ``has_adopted`` knows for certain whether nobody is there, which a look at processes that
    come and go cannot tell (``maculaos.host.reaper``).
    """

    def __init__(
        self, keeper_pid: int, processes: ProcessTable, has_adopted: Callable[[], bool]
    ) -> None:
        self._keeper_pid = keeper_pid
        self._processes = processes
        self._has_adopted = has_adopted
        self._asked: set[ProcessMark] = set()
        self._forced_since: float | None = None

    def has_any(self, now: float, force_at: float) -> bool:
        """End who is there; whether anybody was, that may still end.

        ``now`` and ``force_at``, from when on force is used, are seconds of one clock.
        """
        left = self._processes.descendants(self._keeper_pid)
        if now >= force_at and self._forced_since is None:
            self._forced_since = now
        if self._is_in_vain(now) or not (left or self._has_adopted()):
            self._asked.clear()
            self._forced_since = None
            return False
        for process in left:
            self._end(process, is_forced=now >= force_at)
        return True

    def _is_in_vain(self, now: float) -> bool:
        return self._forced_since is not None and now > self._forced_since + FORCE_S

    def _end(self, process: ProcessMark, *, is_forced: bool) -> None:
        if is_forced:
            self._signal(process, signal.SIGKILL)
        elif process not in self._asked:
            self._asked.add(process)
            self._signal(process, signal.SIGTERM)

    def _signal(self, process: ProcessMark, number: int) -> None:
        with suppress(PermissionError):  # it became another user: not ours to end
            self._processes.signal(process, number)
