"""Progress: how far a long piece of work is, told to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

# Called with the bytes done so far and the bytes in all; first with 0 done, last with all.
Progress: TypeAlias = Callable[[int, int], None]


def silent(done: int, total: int) -> None:
    """Show nothing."""
    del done, total
