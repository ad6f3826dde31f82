"""The steps that a plan is made of: plain values that can describe themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from jails.spec import JailSpec


@dataclass(frozen=True, slots=True)
class RemoveJail:
    """The jail is ours and no longer wanted."""

    name: str
    reason: str

    def describe(self) -> str:
        """One line for people."""
        return f"remove {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class StartJail:
    """The jail is wanted and does not run."""

    spec: JailSpec
    reason: str

    @property
    def name(self) -> str:
        """The jail it is about."""
        return self.spec.name

    def describe(self) -> str:
        """One line for people."""
        return f"start {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class ReplaceJail:
    """The jail runs something else than what is wanted."""

    spec: JailSpec
    reason: str

    @property
    def name(self) -> str:
        """The jail it is about."""
        return self.spec.name

    def describe(self) -> str:
        """One line for people."""
        return f"replace {self.name}: {self.reason}"


@dataclass(frozen=True, slots=True)
class UpdateFiles:
    """The program may go on; its files change and it is told to reload them."""

    spec: JailSpec
    reason: str

    @property
    def name(self) -> str:
        """The jail it is about."""
        return self.spec.name

    def describe(self) -> str:
        """One line for people."""
        return f"update {self.name}: {self.reason}"


Step: TypeAlias = RemoveJail | StartJail | ReplaceJail | UpdateFiles
