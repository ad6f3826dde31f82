"""The loop of the model that keeps a program: what the rendered ``start`` script does.

The model runs no shell. It reads the settings at the head of the script, decides by the policy that
all runtimes share (``jails.keeper.supervision``), and writes the status as the script does. The
processes beside the program, which write its log and wait, are not modelled, and nothing is logged.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jails.keeper.supervision import Supervision
from jails.spec import JailState, Restart, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPT = "/.launch/start"
STATUS = "/.keep/status"
_SETTING = re.compile(r"^([a-z_]+)=(\S*)$", re.MULTILINE)


class Loop:
    """What one loop remembers; another that is run after it goes on with the same."""

    def __init__(self, script: str, write: Callable[[bytes], None]) -> None:
        said = dict(reversed(_SETTING.findall(script)))
        self.user = said["user"].strip("'") or "root"
        self._write = write
        self._supervision = Supervision(
            Restart(
                policy=RestartPolicy(said["policy"]),
                base_s=int(said["base_ms"]) / 1000,
                max_s=int(said["max_ms"]) / 1000,
                steady_s=float(said["steady_s"]),
            )
        )
        self.state: JailState | None = None
        self.program: int | None = None
        self.next_start = 0.0
        self._started_at = 0.0
        self._exit = ""

    def started(self, program: int, now: float) -> None:
        """The program was started; times are seconds since the epoch."""
        self._supervision.started(now)
        self._started_at, self.next_start = now, 0.0
        self._say(JailState.RUNNING, program)

    def ended(self, exit_status: int, now: float, *, is_seen: bool = True) -> None:
        """The program ended with what a shell says of it, 128 and the signal if one killed it.

        Only the loop that started it sees that; another takes it for a failure.
        """
        self._exit = str(exit_status) if is_seen else "unseen"
        wait_s = self._supervision.ended(exit_status if is_seen else 1, now)
        self.next_start = 0.0 if wait_s is None else now + wait_s
        self._say(JailState.FAILED if wait_s is None else JailState.BACKING_OFF)

    def stopped(self, exit_status: int) -> None:
        """It was asked to end, and the program with it."""
        if self.program is not None:
            self._exit = str(exit_status)
        self._say(JailState.STOPPED)

    def _say(self, state: JailState, program: int | None = None) -> None:
        self.state, self.program = state, program
        lines = (
            f"state={state.value}",
            f"program={program or ''}",
            f"started_at={int(self._started_at)}",
            f"restarts={self._supervision.restarts}",
            "short_runs=0",
            f"exit={self._exit}",
            f"next_start={int(self.next_start)}",
        )
        self._write("".join(f"{line}\n" for line in lines).encode())
