"""The phases of a load test, real or virtual."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

#: A publisher's word for what it could not even say.
NODE_GONE: Final = "NODE_GONE"


class Phase(StrEnum):
    """What a run is busy with."""

    SETTLING = "settling"
    RUNNING = "running"
    DRAINING = "draining"
    OVER = "over"
