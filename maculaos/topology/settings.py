"""How many links a node keeps, and how patient it is with them. Words only; nothing is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Gt, Le

_STRICT: Final[dict[str, Any]] = {"extra": "forbid", "strict": True}
_Seconds = Annotated[float, Gt(0), Le(86_400)]

DEGREE_MIN: Final = 2
DEGREE_MAX: Final = 64
DEFAULT_DEGREE: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologySettings:
    """The graph of links of a realm; every node of the realm needs the same degree."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    # Links of each node, an even number: more shortens the ways and survives more losses at once;
    # each costs memory, probes, and a copy of every change of what nodes subscribe to.
    degree: Annotated[int, Ge(DEGREE_MIN), Le(DEGREE_MAX)] = DEFAULT_DEGREE
    # A link that nobody wants is kept this long: longer forgives slower news of members.
    grace_s: _Seconds = 10.0
    # Changes of members are gathered this long before links follow: longer saves work in a storm.
    settle_s: _Seconds = 0.1
    # A dial of which nothing is heard counts as failed after this.
    dial_patience_s: _Seconds = 15.0
    # A neighbour out of reach is tried again after a wait that doubles from base to max.
    retry_base_s: _Seconds = 1.0
    retry_max_s: _Seconds = 30.0
    # One lost member, taken at random, is tried this often, while it is remembered: a shorter
    # interval heals a partition sooner and sends more dials to machines that are switched off.
    retry_lost_interval_s: _Seconds = 10.0

    def __post_init__(self) -> None:
        check_degree(self.degree)
        if self.retry_max_s < self.retry_base_s:
            raise ValueError("retry_max_s must not be below retry_base_s")

    def retry_ceiling_s(self, failures: int) -> float:
        """The longest wait before the next try, after that many failures in a row."""
        return float(min(self.retry_max_s, self.retry_base_s * 2 ** min(failures, 20)))


def check_degree(degree: int) -> int:
    """Return ``degree`` if rings can make it; raise ``ValueError`` if not."""
    if degree % 2 or not DEGREE_MIN <= degree <= DEGREE_MAX:
        raise ValueError(f"degree must be even, from {DEGREE_MIN} to {DEGREE_MAX}; got {degree}")
    return degree
