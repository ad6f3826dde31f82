"""The inbox: which letters of each writer were read, so that none is read twice.

A window slides over the numbers of each writer (RFC 4303, 3.4.3): what lies before it counts as
read. A writer that starts again has another *life* and counts anew, and what its old life wrote is
read no more. Of writers that were forgotten only one moment is kept: nothing that was stamped up
to then is read. So nobody can bring an old letter again, however it was kept, and memory is
bounded. Stamps are milliseconds by the writer's clock; whether they are near the clock here is
not its business.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from maculaos.identity import NodeId

#: Numbers that are remembered of one writer; more than an honest one has on the way.
WINDOW: Final = 2048
_MASK: Final = (1 << WINDOW) - 1


class Verdict(Enum):
    """What a letter is, by its number."""

    NEW = "new"
    #: Read before, from this very writer.
    READ = "read"
    #: Too old to tell.
    STALE = "stale"


@dataclass(slots=True, eq=False)
class _Writer:
    """What was read of one life of a writer."""

    life: int
    # Nothing of this life is read that was stamped up to then.
    since: int
    # The newest that was read.
    stamp: int
    top: int
    # Bit i: number top - i was read.
    read: int = 0


class Inbox:
    """At most ``limit`` writers; nothing is read that was stamped up to ``horizon``."""

    def __init__(self, limit: int, horizon: int = 0) -> None:
        self._limit = limit
        self.horizon = horizon
        self._writers: OrderedDict[NodeId, _Writer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._writers)

    def judge(self, writer: NodeId, life: int, number: int, stamp: int) -> Verdict:
        """What that letter is; nothing is remembered of it."""
        known = self._writers.get(writer)
        if known is None:
            return Verdict.NEW if stamp > self.horizon else Verdict.STALE
        if known.life != life:
            return Verdict.NEW if stamp > known.stamp else Verdict.STALE
        if stamp <= known.since:
            return Verdict.STALE
        if number > known.top:
            return Verdict.NEW
        if known.top - number >= WINDOW:
            return Verdict.STALE
        return Verdict.READ if known.read >> (known.top - number) & 1 else Verdict.NEW

    def life_of(self, writer: NodeId) -> int:
        """The newest life of that writer that a letter was read of; 0 if of none."""
        known = self._writers.get(writer)
        return 0 if known is None else known.life

    def read(self, writer: NodeId, life: int, number: int, stamp: int) -> None:
        """That letter, which was judged new, and is genuine, is read."""
        known = self._writers.get(writer)
        if known is None or known.life != life:
            since = self.horizon if known is None else known.stamp
            known = self._writers[writer] = _Writer(life, since, stamp, number)
        if number > known.top:
            known.read = known.read << min(number - known.top, WINDOW) & _MASK
            known.top = number
        known.read |= 1 << known.top - number
        known.stamp = max(known.stamp, stamp)
        self._writers.move_to_end(writer)
        while len(self._writers) > self._limit:
            _, forgotten = self._writers.popitem(last=False)
            self.horizon = max(self.horizon, forgotten.stamp)
