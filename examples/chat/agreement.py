"""Agreement: do others know the same of a room, and if not, when to ask which of them.

A member's beat carries a digest of the last that it knows of each room. Whoever holds to another
digest than ours, beat after beat, knows something that we do not, or the other way round. To ask
costs both; so a room is asked about seldom, and of a difference that stays ever more seldom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A difference may be a word on its way: it counts once it lasted so many seconds.
PATIENCE_S: Final = 1.0
# Between two questions about one room, whoever is asked.
INTERVAL_S: Final = 1.5
# Some differences stay, as when a message is not believed by everybody.
MAX_PATIENCE_S: Final = 64.0
MAX_DIFFERENCES: Final = 2000


@dataclass(slots=True)
class _Difference:
    """What one member and we hold to, since when, and how long that is watched."""

    theirs: int
    ours: int
    since: float
    patience_s: float


class Agreement:
    """The differences between what members know of rooms and what is known here."""

    def __init__(self) -> None:
        self._differences: dict[tuple[str, str], _Difference] = {}
        self._asked_at: dict[str, float] = {}

    def compare(self, seat: str, room: str, theirs: int, ours: int, now: float) -> bool:
        """Whether to ask the member of that seat what it knows of ``room``, given both digests.

        ``theirs`` is 0 of whoever knows nothing.
        """
        key = (seat, room)
        if theirs in {0, ours}:
            self._differences.pop(key, None)
            return False
        held = self._differences.get(key)
        if held is None or (held.theirs, held.ours) != (theirs, ours):
            self._note(key, _Difference(theirs, ours, now, PATIENCE_S))
            return False
        if now - held.since < held.patience_s or not self._may_ask(room, now):
            return False
        self._asked_at[room] = held.since = now
        held.patience_s = min(MAX_PATIENCE_S, 2 * held.patience_s)
        return True

    def forget_room(self, room: str) -> None:
        """Nobody is asked about ``room`` any more."""
        self._asked_at.pop(room, None)
        for key in [key for key in self._differences if key[1] == room]:
            del self._differences[key]

    def _may_ask(self, room: str, now: float) -> bool:
        return now - self._asked_at.get(room, -INTERVAL_S) >= INTERVAL_S

    def _note(self, key: tuple[str, str], difference: _Difference) -> None:
        self._differences.pop(key, None)
        self._differences[key] = difference
        if len(self._differences) > MAX_DIFFERENCES:
            del self._differences[next(iter(self._differences))]
