"""The seam: what every way of running jails must be able to do.

Every operation can be repeated, and repairs what an earlier crash left: a runtime looks at the
machine, it does not remember. Operations block; the reconciler calls them from a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jails.spec import JailFacts, JailSpec


class JailError(Exception):
    """A jail could not be brought where it should be; ``hint`` is the next move."""

    def __init__(self, jail: str, what: str, hint: str = "") -> None:
        super().__init__(f"{jail}: {what}" + (f"; {hint}" if hint else ""))
        self.jail = jail
        self.what = what
        self.hint = hint


class Runtime(Protocol):
    """A way of running jails on this machine."""

    @property
    def name(self) -> str:
        """``jail``, ``namespaces``, ``process`` or, in tests, ``memory``."""
        ...

    def look(self) -> Mapping[str, JailFacts]:
        """Facts of every jail that is ours, whatever started it."""
        ...

    def ensure(self, spec: JailSpec) -> None:
        """Make ``spec`` run: start it, or replace what runs under that name if it differs.

        A program that already runs from an equal spec is left alone, and never started twice.
        """
        ...

    def update_files(self, spec: JailSpec) -> None:
        """Put the files of ``spec`` in place, each atomically, without touching the program."""
        ...

    def stop(self, name: str) -> None:
        """Stop the program within its deadline, by force after it; keep its writable part."""
        ...

    def remove(self, name: str) -> None:
        """Stop the program and delete the jail with its writable part."""
        ...

    def data_path(self, name: str) -> Path:
        """Where the jail's writable part lies, as seen from the host."""
        ...

    def logs(self, name: str, lines: int) -> list[str]:
        """The last lines that the program wrote, oldest first; empty for an unknown jail."""
        ...
