"""What a measurement took: by the clock, and of the CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds; on a busy machine only those of the CPU hold."""

    clock_s: float
    cpu_s: float


async def timed(what: Callable[[], Awaitable[object]]) -> Took:
    """Do ``what``, and tell what it took."""
    clock, cpu = time.perf_counter(), time.process_time()
    await what()
    return Took(time.perf_counter() - clock, time.process_time() - cpu)
