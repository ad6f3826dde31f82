"""The steps that a plan is made of: plain values that can describe themselves.

They carry what a runtime needs to take them, and never take themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from jails.spec import JailSpec
from reconciler.names import spoken


class _Described:
    """A step as people and programs read it: what it does to which jail, and why."""

    __slots__ = ()

    verb: ClassVar[str]
    name: str
    reason: str

    def describe(self) -> str:
        """One line for people."""
        return f"{self.verb} {spoken(self.name)}: {self.reason}"

    def as_json(self) -> dict[str, str]:
        """For programs; contents of files and variables stay out, they may be secret."""
        return {"step": self.verb, "jail": self.name, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class RemoveJail(_Described):
    """The jail is ours and no longer wanted."""

    verb: ClassVar[str] = "remove"

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class _OfSpec(_Described):
    """A step towards a wanted jail."""

    spec: JailSpec
    reason: str

    @property
    def name(self) -> str:  # type: ignore[override] # read-only here, a field in RemoveJail
        """The jail it is about."""
        return self.spec.name


@dataclass(frozen=True, slots=True)
class StartJail(_OfSpec):
    """The jail is wanted and does not run."""

    verb: ClassVar[str] = "start"


@dataclass(frozen=True, slots=True)
class MoveJail(_OfSpec):
    """The jail is wanted under a new name: what the former one keeps goes along."""

    verb: ClassVar[str] = "move"

    former: str


@dataclass(frozen=True, slots=True)
class ReplaceJail(_OfSpec):
    """The jail runs something else than what is wanted."""

    verb: ClassVar[str] = "replace"


@dataclass(frozen=True, slots=True)
class UpdateFiles(_OfSpec):
    """The program may go on; its files change and it is told to reload them."""

    verb: ClassVar[str] = "update"


Step: TypeAlias = RemoveJail | MoveJail | StartJail | ReplaceJail | UpdateFiles
