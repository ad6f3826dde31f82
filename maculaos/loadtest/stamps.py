"""What the payload of a load test carries: who sent it, its number, and when it was meant to go.

The rest up to the wished size is padding that does not shrink when it is compressed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# The run, the publisher, its event, and microseconds since the start of the run.
_STAMP: Final = struct.Struct("<IIIQ")
STAMP_SIZE: Final = _STAMP.size
#: Read: run, publisher, sequence, due; raises ``struct.error`` for less than a stamp.
read: Final[Callable[[bytes], tuple[int, ...]]] = _STAMP.unpack_from


class Stamper:
    """Makes the payloads of one publisher, each of ``size`` bytes."""

    def __init__(self, run: int, publisher: int, size: int, rng: random.Random) -> None:
        self._run = run
        self._publisher = publisher
        self._padding = rng.randbytes(max(0, size - STAMP_SIZE))

    def stamped(self, sequence: int, due_s: float) -> bytes:
        """The payload of that event; ``due_s`` in seconds since the start."""
        due_us = round(due_s * 1_000_000)
        return _STAMP.pack(self._run, self._publisher, sequence, due_us) + self._padding
