"""The seam between a kept program and what surrounds it on the host.

A keeper runs one command; an enclosure says which, and makes what has to be there first. Whoever
calls holds the jail's directory and has ended what ran before. ``Bare`` surrounds it with nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jails.runtime import refuse_isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jails.keeper.records import JailDirectory
    from jails.spec import JailSpec


class Enclosure(Protocol):
    """What a runtime puts around a program."""

    def refuse(self, spec: JailSpec) -> None:
        """Raise ``JailError`` if ``spec`` cannot be had here; changes nothing."""
        ...

    def names(self) -> frozenset[str]:
        """Jails under our root of which something is there outside of their directories."""
        ...

    def damaged(self, directories: Iterable[JailDirectory]) -> frozenset[str]:
        """Names of those whose surroundings are not as they were made; for running ones."""
        ...

    def mend(self, directory: JailDirectory) -> None:
        """Repair what can be repaired while the program runs; the rest stays damaged."""
        ...

    def own(self, spec: JailSpec, directory: JailDirectory) -> None:
        """Let the program read and write what was placed for it."""
        ...

    def enter(
        self, spec: JailSpec, directory: JailDirectory
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """Make the surroundings; the command and the environment for the keeper."""
        ...

    def leave(self, directory: JailDirectory) -> None:
        """Take away what is left of the surroundings, also after a crash in ``enter``."""
        ...


class Bare:
    """No surroundings: the program runs as it is, and more cannot be asked for."""

    def __init__(self, runtime: str) -> None:
        self._runtime = runtime

    def refuse(self, spec: JailSpec) -> None:
        """See ``Enclosure.refuse``: every wish to be kept apart."""
        refuse_isolation(spec, self._runtime)

    def names(self) -> frozenset[str]:
        """See ``Enclosure.names``."""
        return frozenset()

    def damaged(self, directories: Iterable[JailDirectory]) -> frozenset[str]:
        """See ``Enclosure.damaged``."""
        del directories
        return frozenset()

    def mend(self, directory: JailDirectory) -> None:
        """See ``Enclosure.mend``."""

    def own(self, spec: JailSpec, directory: JailDirectory) -> None:
        """See ``Enclosure.own``."""

    def enter(
        self, spec: JailSpec, directory: JailDirectory
    ) -> tuple[tuple[str, ...], Mapping[str, str]]:
        """See ``Enclosure.enter``."""
        del directory
        return spec.command, spec.environment

    def leave(self, directory: JailDirectory) -> None:
        """See ``Enclosure.leave``."""
