"""Many problems as one line: the first few, and how many more there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN_MAX: Final = 5


def in_one_line(problems: Sequence[str]) -> str:
    """The first problems, and the number of those that are left out."""
    more = len(problems) - SHOWN_MAX
    return "; ".join(problems[:SHOWN_MAX]) + (f"; and {more} more" if more > 0 else "")
