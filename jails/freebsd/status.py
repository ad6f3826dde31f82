"""The status of a jail: what the loop that keeps its program writes down for the host.

The loop is the rendered ``start`` script; it replaces the file at every change. Whoever is root in
the jail can write anything there instead, so only the exact form is read, and the rest is nothing.
Whether what it says is so, the processes tell (``jails.freebsd.findings``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from jails.keeper.supervision import describe_exit
from jails.spec import JailState

# No status is near this; of a larger file nothing is read.
MOST_BYTES = 1024
_FORM = re.compile(
    rb"state=(running|backing-off|failed|stopped)\n"
    rb"program=([1-9][0-9]{0,8})?\n"
    rb"started_at=([0-9]{1,12})\n"
    rb"restarts=([0-9]{1,9})\n"
    rb"short_runs=[0-9]{1,9}\n"
    rb"exit=([0-9]{1,3}|unseen)?\n"
    rb"next_start=[0-9]{1,12}\n"
)
# A shell tells of a signal by a status above this.
_SIGNALLED = 128
_MOST_SIGNAL = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What the loop says; ``program`` is the id of a process while one runs."""

    state: JailState
    program: int | None
    # Seconds since the epoch, of the last start.
    started_at: float
    restarts: int
    # How the last run ended, for people; empty before any did.
    last_exit: str


def parse_status(content: bytes) -> Status | None:
    """The status; None for anything that no loop writes."""
    match = _FORM.fullmatch(content)
    if match is None:
        return None
    state, program, started_at, restarts, ended = match.groups()
    return Status(
        state=JailState(state.decode()),
        program=int(program) if program else None,
        started_at=float(started_at),
        restarts=int(restarts),
        last_exit=_in_words(ended.decode()) if ended else "",
    )


def _in_words(ended: str) -> str:
    if ended == "unseen":
        return "ended unseen, while its supervisor was away"
    status = int(ended)
    # A program may also exit with such a status by itself: a shell cannot tell these apart.
    is_signal = _SIGNALLED < status <= _SIGNALLED + _MOST_SIGNAL
    return describe_exit(_SIGNALLED - status if is_signal else status)
