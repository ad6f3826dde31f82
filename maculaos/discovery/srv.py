"""The order in which the targets of a service are tried (RFC 2782). DNS is asked elsewhere.

Smaller priorities come first. Among equals the order is drawn anew each time, so that a target is
the first as often as its weight says.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Target:
    """One SRV record; ``host`` is a name without its last dot, empty for "no such service"."""

    priority: int
    weight: int
    host: str
    port: int


def ordered(targets: Iterable[Target], rng: random.Random) -> tuple[Target, ...]:
    """``targets`` as they are to be tried, without those that say there is no service."""
    usable = [each for each in targets if each.host and each.port]
    by_priority = groupby(sorted(usable, key=attrgetter("priority")), attrgetter("priority"))
    return tuple(each for _, equals in by_priority for each in _drawn(list(equals), rng))


def _drawn(left: list[Target], rng: random.Random) -> Iterator[Target]:
    # Those of weight 0 first, so that they are drawn at all beside others, as the RFC wants it.
    left.sort(key=attrgetter("weight"))
    while left:
        mark = rng.randint(0, sum(each.weight for each in left))
        for position, each in enumerate(left):
            mark -= each.weight
            if mark <= 0:
                yield left.pop(position)
                break
