"""The hooks of an app as its spec says them: what is run beside the program, and when. Words only.

They belong to the app's version: other hooks are another version, and are rolled out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from annotated_types import Gt, Le

from reconciler.values import STRICT, Command, Maybe

LONGEST_S: Final = 60

# Above the class: pydantic reads it by name.
_Bounded: TypeAlias = Annotated[float, Gt(0), Le(LONGEST_S)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeHooks:
    """Commands that are run inside the app's jail, as its program, at moments of its life."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    start: Maybe[Command] = None
    """Run when the program runs, before it is healthy; it is not until this ends with status 0."""
    drain: Maybe[Command] = None
    """Run when an instance gets no new traffic any more; status 0 ends the drain early."""
    stop: Maybe[Command] = None
    """Run before the program is told to end."""
    timeout_s: _Bounded = 10.0
    """How long each may take before it is ended by force; drain has drain_s on top."""
