"""A draft: the files of one item on their way to be an item, and what is wrong with them so far.

Whether it is of this machine can be unknown: a file that cannot be read may have said so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import TypeAdapter, ValidationError

from maculaos.documents import Document, Problem, Tree
from reconciler.specs.layout import Kind
from reconciler.specs.spec import AppSpec, NodeSpec
from reconciler.specs.targets import Targets

if TYPE_CHECKING:
    from reconciler.specs.targets import MachineFacts

TYPES: Final[dict[Kind, type[NodeSpec | AppSpec]]] = {"node": NodeSpec, "app": AppSpec}
_TARGETS: Final = TypeAdapter(Targets)
_SAYS_TARGETS: Final = re.compile(rb"""^\s*["']?targets["']?\s*:""", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Draft:
    """One spec file with all that is laid below and over it."""

    key: str
    kind: Kind
    name: str
    path: str
    content: bytes
    # None as long as, or because, the files do not make one.
    tree: Tree | None = None
    document: Document[Any] | None = None
    problems: list[Problem] = field(default_factory=list)
    # Whether it is of this machine; None if that cannot be told.
    is_here: bool | None = True

    @property
    def node(self) -> NodeSpec | None:
        """What it says, if it is a node's and can be read."""
        spec = None if self.document is None else self.document.value
        return spec if isinstance(spec, NodeSpec) else None

    @property
    def app(self) -> AppSpec | None:
        """What it says, if it is an app's and can be read."""
        spec = None if self.document is None else self.document.value
        return spec if isinstance(spec, AppSpec) else None

    @property
    def moved_from(self) -> str | None:
        """The name that it had before."""
        return None if self.document is None else self.document.value.moved_from

    def find_place(self, machine: MachineFacts) -> None:
        """Settle whether the item is of ``machine``, as far as its own files say."""
        targets = self.targets()
        self.is_here = None if targets is None else targets.include(machine)

    def names_targets(self) -> bool:
        """Whether its own files say where it runs, or may have said so."""
        if self.document is not None:
            return self.document.value.targets is not None
        if self.tree is not None and isinstance(self.tree.value, dict):
            return self.tree.value.get("targets") is not None
        return _SAYS_TARGETS.search(self.content) is not None

    def targets(self) -> Targets | None:
        """Where it runs; None if that cannot be told."""
        if not self.names_targets():
            return Targets()
        if self.document is not None:
            said: Targets = self.document.value.targets
            return said
        if self.tree is None or not isinstance(self.tree.value, dict):
            return None
        try:
            return _TARGETS.validate_python(self.tree.value["targets"], strict=False)
        except ValidationError:
            return None
