"""Jails of Linux namespaces: the same keeper and records as plain processes, well enclosed.

How a program is kept is ``jails.process``; what surrounds it, ``jails.namespaces.enclosure``. As
root each jail can have a network, an account and limits of its own; for an ordinary user there
is less, and ``abilities`` says what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from jails.hooks import run_hook
from jails.namespaces import keyless
from jails.namespaces.abilities import SEARCH_PATH, probe
from jails.namespaces.bwrap import DATA
from jails.namespaces.enclosure import EnclosureSettings, NamespaceEnclosure
from jails.namespaces.groups import join_argv
from jails.namespaces.inside import (
    Place,
    bounds_of,
    command_inside,
    first_inside,
    hook_inside,
    usage_of,
)
from jails.namespaces.limits import bounded_argv
from jails.namespaces.naming import Naming
from jails.process import ProcessRuntime, ProcessSettings
from jails.runtime import EXEC_TIMEOUT_S, JailError
from maculaos.host.commands import CommandFailed, SystemRunner

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jails.namespaces.abilities import Abilities
    from jails.spec import HookKind, JailUsage
    from maculaos.host.clock import Clock


_GLANCE_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceSettings:
    """Bounds of the namespace runtime, and those of the keepers below it."""

    keeping: ProcessSettings = field(default_factory=ProcessSettings)
    enclosure: EnclosureSettings = field(default_factory=EnclosureSettings)


class NamespaceRuntime(ProcessRuntime):
    """A ``Runtime`` of jails under ``root``; what the machine cannot do is refused by name."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        settings: NamespaceSettings | None = None,
        *,
        abilities: Abilities | None = None,
    ) -> None:
        settings = settings or NamespaceSettings()
        self._tools = SystemRunner({"PATH": SEARCH_PATH, "LANG": "C.UTF-8"})
        self.abilities = abilities or probe(self._tools)
        self._naming = Naming(root.absolute())
        self._surroundings = NamespaceEnclosure(
            root.absolute(), self.abilities, self._tools, clock, settings.enclosure
        )
        super().__init__(root, clock, settings.keeping, enclosure=self._surroundings)

    @property
    def name(self) -> str:
        """See ``Runtime.name``."""
        return "namespaces"

    def exec(self, name: str, command: tuple[str, ...], timeout_s: float = EXEC_TIMEOUT_S) -> str:
        """See ``Runtime.exec``; under the jail's account and limits, without any capability."""
        pid = self._running_pid(name)
        if not self.abilities.is_root:
            raise JailError(name, "only root can run a command inside a jail")
        argv = command_inside(self.abilities.tools, self._inside(name, pid), command)
        try:
            return self._tools.run(*argv, timeout_s=timeout_s)
        except CommandFailed as failed:
            is_late = failed.exit_status is None
            how = "did not end in time" if is_late else f"exit status {failed.exit_status}"
            what = f"{command[0]}: {how}: {failed.stderr.strip()[:500]}"
            raise JailError(name, what) from failed

    def _run_hook(
        self,
        where: tuple[str, HookKind, float],
        pid: int,
        command: tuple[str, ...],
        environment: Mapping[str, str],
    ) -> None:
        """Inside, under the program's account and limits, without any capability."""
        jail, _, timeout_s = where
        if not self.abilities.is_root:
            raise JailError(jail, "only root can run a command inside a jail")
        words = tuple(word.replace("{data}", DATA) for word in command)
        seen = {**environment, "HOME": DATA, "PWD": DATA}
        place = self._entrance(jail, pid, timeout_s)
        run_hook(where, hook_inside(self.abilities.tools, place, words), seen)

    def _entrance(self, jail: str, pid: int, timeout_s: float) -> Place:
        """Where to run something as soon as there is an inside; raises ``JailError``."""
        deadline = self._clock.monotonic() + timeout_s
        while True:
            try:
                return self._inside(jail, pid)
            except JailError:
                if self._clock.monotonic() > deadline:
                    raise
            self._clock.sleep(_GLANCE_S)

    def usage(self, name: str) -> JailUsage:
        """See ``Runtime.usage``."""
        pid = self._running_pid(name)
        return usage_of(name, pid, self._naming.of(name).interfaces.host_interface)

    def _inside(self, name: str, pid: int) -> Place:
        """Where a command of ours runs in the jail whose bwrap(1) is ``pid``."""
        first, owner = first_inside(name, pid), self.data_path(name).stat()
        group = self._surroundings.group_of(name)
        tool = self.abilities.tools.get("prlimit")
        return Place(
            first=first,
            account=(owner.st_uid, owner.st_gid),
            bounds=(
                *keyless.argv(),
                *(join_argv(group) if group is not None else ()),
                *(bounded_argv(tool, *bounds_of(name, first)) if tool else ()),
            ),
        )

    def _running_pid(self, name: str) -> int:
        facts = self.look().get(name)
        if facts is None or facts.pid is None:
            raise JailError(name, "it does not run", "start it first")
        return facts.pid
