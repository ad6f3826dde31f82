"""When a program that ended is started again: policy and backoff, without a process or a clock.

    starting --started--> running --ended, policy says again--> waiting --started--> running
                             `------ended, policy says no-----> over

The wait doubles from ``base_s`` to ``max_s``; a run of at least ``steady_s`` starts it over.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from jails.spec import RestartPolicy

if TYPE_CHECKING:
    from jails.spec import Restart

# 2 ** 30 times any base is beyond any max; a larger exponent would only cost memory.
_MOST_DOUBLINGS = 30


class Supervision:
    """The history of one program that decides on its next start. Times are monotonic seconds."""

    def __init__(self, restart: Restart) -> None:
        self._restart = restart
        self._started_at = 0.0
        self._starts = 0
        self._short_runs = 0

    @property
    def restarts(self) -> int:
        """How often the program was started again."""
        return max(0, self._starts - 1)

    def started(self, now: float) -> None:
        """The program was started, or at least that was tried."""
        self._started_at = now
        self._starts += 1

    def ended(self, exit_status: int, now: float) -> float | None:
        """Seconds until the next start; None if the policy lets it rest."""
        if not self._wants_another(exit_status):
            return None
        if now - self._started_at >= self._restart.steady_s:
            self._short_runs = 0
        doublings = min(self._short_runs, _MOST_DOUBLINGS)
        self._short_runs += 1
        return min(self._restart.max_s, self._restart.base_s * 2.0**doublings)

    def _wants_another(self, exit_status: int) -> bool:
        policy = self._restart.policy
        return policy is RestartPolicy.ALWAYS or (
            policy is RestartPolicy.ON_FAILURE and exit_status != 0
        )


def describe_exit(exit_status: int) -> str:
    """An exit status for people; a negative one is the signal that killed."""
    if exit_status >= 0:
        return f"exited with status {exit_status}"
    try:
        return f"killed by {signal.Signals(-exit_status).name}"
    except ValueError:
        return f"killed by signal {-exit_status}"
