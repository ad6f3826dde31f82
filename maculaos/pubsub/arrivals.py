"""Acknowledged runs as a target sees them: in the order of their publisher, each once.

A publisher numbers its events and says with each run which one it sent before to this target
(``after``, 0 for the first of which nothing is known). So a target tells a run that is next from
one that comes again, and from one that overtook another: that one is not taken, and comes again in
its turn. The sequence numbers of one life rise. Each priority, and each shared subscription, has an
order of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from maculaos.identity import NodeId

# The publisher, the group that the copy is for, and the priority.
Source: TypeAlias = "tuple[NodeId, str, int]"

# Groups and priorities of one publisher that are told apart: it cannot make others be forgotten.
_SHARE: Final = 1000
# Reasons that are remembered for each publisher and group.
_FAILED: Final = 256
# How many runs behind a gap make its publisher hear of it again.
_TOLD_EVERY: Final = 8


class Standing(Enum):
    """What a target does with a run."""

    NEXT = "next"
    # Another one before it did not come.
    GAP = "gap"
    # It was taken by every subscriber, or came to nothing: say so again.
    TAKEN = "taken"
    # It came, and some subscriber is not through with it.
    UNDER_WAY = "under way"


@dataclass(slots=True)
class _Heard:
    life: int
    last: int = 0
    # Runs up to the last that subscribers are not through with.
    under_way: dict[int, None] = field(default_factory=dict)
    # The last ones that came to nothing, with the reason.
    failed: dict[int, int] = field(default_factory=dict)
    # The last one of which the reason was forgotten, and that reason.
    forgotten: tuple[int, int] = (0, 0)
    # Runs that came since the last, and had another one before them.
    beyond: int = 0


class Arrivals:
    """The runs of at most ``limit`` publishers and groups; who came first is forgotten first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._heard: dict[Source, _Heard] = {}
        self._of_publisher: dict[NodeId, dict[Source, None]] = {}
        # Of which a run had no room, and the topic of that run.
        self.refused: dict[Source, str] = {}

    def judge(self, source: Source, life: int, after: int, sequence: int) -> Standing:
        """Where that run stands, of that life of its publisher."""
        heard = self._heard.get(source)
        if heard is None or heard.life != life:
            return Standing.NEXT if not after else Standing.GAP
        if sequence <= heard.last:
            return Standing.UNDER_WAY if sequence in heard.under_way else Standing.TAKEN
        return Standing.NEXT if after <= heard.last else Standing.GAP

    def accept(self, source: Source, life: int, sequence: int) -> None:
        """A run that was next is with its subscribers now."""
        heard = self._of(source, life)
        heard.last = sequence
        heard.under_way[sequence] = None
        heard.beyond = 0
        if self.refused:
            self.refused.pop(source, None)

    def tells_gap(self, source: Source, life: int) -> bool:
        """One more run came behind a gap: whether the publisher is to hear of it, once more.

        Not behind one that was refused: that is no gap, and offered again.
        """
        heard = self._of(source, life)
        if source in self.refused:
            return False
        heard.beyond += 1
        return heard.beyond % _TOLD_EVERY == 1

    def refuse(self, source: Source, life: int, topic: str) -> None:
        """A run that was next has no room."""
        self._of(source, life)
        self.refused[source] = topic

    def through(self, source: Source) -> int:
        """Every run of that source up to this number was taken; 0 if that cannot be said."""
        heard = self._heard.get(source)
        if heard is None or heard.failed:
            return 0
        return next(iter(heard.under_way)) - 1 if heard.under_way else heard.last

    def taken(self, source: Source, sequence: int, code: int) -> None:
        """Every subscriber has taken that run, or it came to nothing for that reason."""
        heard = self._heard.get(source)
        if heard is None:
            return
        heard.under_way.pop(sequence, None)
        if code:
            heard.failed[sequence] = code
            if len(heard.failed) > _FAILED:
                oldest = next(iter(heard.failed))
                heard.forgotten = (oldest, heard.failed.pop(oldest))

    def code_of(self, source: Source, sequence: int) -> int:
        """Why a run came to nothing; 0 if it was taken.

        Where that was forgotten, a reason: better one failure too many than one too few.
        """
        heard = self._heard.get(source)
        if heard is None:
            return 0
        last, reason = heard.forgotten
        return heard.failed.get(sequence, reason if sequence <= last else 0)

    def _of(self, source: Source, life: int) -> _Heard:
        heard = self._heard.get(source)
        if heard is None or heard.life != life:
            if heard is None:
                self._make_room(source[0])
                self._of_publisher.setdefault(source[0], {})[source] = None
            heard = self._heard[source] = _Heard(life)
        return heard

    def _make_room(self, publisher: NodeId) -> None:
        own = self._of_publisher.get(publisher, {})
        if len(own) >= _SHARE:
            self._drop(next(iter(own)))
        elif len(self._heard) >= self._limit:
            self._drop(next(iter(self._heard)))

    def _drop(self, source: Source) -> None:
        del self._heard[source]
        self.refused.pop(source, None)
        own = self._of_publisher[source[0]]
        del own[source]
        if not own:
            del self._of_publisher[source[0]]

    def forget(self, node: NodeId) -> None:
        """Nobody remembers that publisher any more."""
        for source in tuple(self._of_publisher.get(node, ())):
            self._drop(source)
