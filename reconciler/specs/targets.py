"""Which machines run a spec: by their names and labels.

A machine knows its own name and labels from its settings; nothing is known here of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from annotated_types import Len

from reconciler.values import STRICT, LabelKey, LabelValues, MachineGlobs, Maybe


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineFacts:
    """What a machine is called, and what is said of it."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Which machines: those with one of the names, and with each of the labels."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    machines: Maybe[MachineGlobs] = None
    """Names, or patterns with * ? and [...], in small letters; any machine if left out."""
    labels: Annotated[dict[LabelKey, LabelValues], Len(0, 64)] = field(default_factory=dict)
    """A value or a list of values for each label; a machine must have one of each."""

    def include(self, machine: MachineFacts) -> bool:
        """Whether that machine is meant."""
        named = self.machines is None or any(
            fnmatchcase(machine.name, pattern) for pattern in self.machines
        )
        labels = machine.labels
        return named and all(labels.get(key) in wanted for key, wanted in self.labels.items())
