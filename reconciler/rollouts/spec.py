"""How an app is rolled out, as its spec says it: the words of Nomad's ``update`` block.

Two defaults differ from Nomad's, because nobody sits beside a machine that follows Git by itself:
``auto_revert`` and ``auto_promote`` are on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le

from reconciler.values import STRICT, Seconds

MOST_INSTANCES: Final = 100

# Above the class: pydantic reads it by name.
Instances: TypeAlias = Annotated[int, Ge(1), Le(MOST_INSTANCES)]
_Wait: TypeAlias = Annotated[float, Ge(0), Le(86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How a new version takes the place of the old one."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    kind: Literal["restart", "rolling", "blue-green", "canary"] = "rolling"
    """All at once, some at a time, all beside the old ones, or a few beside them first."""
    max_parallel: Instances = 1
    """Rolling and canary: how many instances are replaced at the same time."""
    canary: Instances = 1
    """Canary: how many instances of the new version run beside the old ones."""
    auto_promote: bool = True
    """Blue-green and canary: go on by itself when the new instances are healthy."""
    auto_revert: bool = True
    """Go back to the last stable version when the new one fails."""
    min_healthy_time_s: _Wait = 10.0
    """How long an instance must be healthy without a break to count."""
    healthy_deadline_s: Seconds = 300.0
    """How long an instance may take to count as healthy; longer than min_healthy_time_s."""
    progress_deadline_s: Seconds = 600.0
    """How long until one more instance is healthy; longer than healthy_deadline_s."""
    drain_s: _Wait = 0.0
    """How long an instance without new traffic runs on before it ends or is replaced."""

    def __post_init__(self) -> None:
        if self.healthy_deadline_s <= self.min_healthy_time_s:
            raise ValueError("healthy_deadline_s must be above min_healthy_time_s")
        if self.progress_deadline_s <= self.healthy_deadline_s:
            raise ValueError("progress_deadline_s must be above healthy_deadline_s")
        if self.progress_deadline_s <= self.drain_s:
            raise ValueError("progress_deadline_s must be above drain_s")
