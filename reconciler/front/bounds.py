"""What the front may take, and how much of it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Of what one end sent and the other did not take yet, beyond one read.
BUFFER_BYTES: Final = 64 * 1024
CONNECT_S: Final = 3.0
# How long a new connection waits for an instance to become ready: while one is replaced in its
# place, its clients wait instead of being refused.
PATIENCE_S: Final = 5.0
AGAIN_S: Final = 0.05
BACKLOG: Final = 512
MOST_SOURCES: Final = 1024
DATAGRAM_IDLE_S: Final = 60.0
DATAGRAM_BYTES: Final = 65_535
# Datagrams that are taken at a time, so that no sender holds up everybody else.
DATAGRAMS_AT_ONCE: Final = 64


@dataclass(slots=True)
class Room:
    """How many connections there may be at once, of all apps together, and how many there are."""

    most: int
    idle_s: float
    taken: int = 0
    refused: int = 0

    def enter(self) -> bool:
        """Take a place; False if there is none, which is counted."""
        if self.taken >= self.most:
            self.refused += 1
            return False
        self.taken += 1
        return True

    def leave(self) -> None:
        """Give the place back."""
        self.taken -= 1
