"""Control groups v2 of jails: a folder for each, under one of ours at the top."""

from __future__ import annotations

import errno
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from jails.namespaces import limits

if TYPE_CHECKING:
    from pathlib import Path

    from jails.spec import Limits
    from maculaos.host.clock import Clock

_OURS = "macula"
_EMPTY_S = 2.0
_LOOK_AGAIN_S = 0.01


def join_argv(group: Path) -> tuple[str, ...]:
    """Words before a command that is to run in a group, all that it starts included."""
    return (sys.executable, "-I", "-m", "jails.namespaces.join", str(group))


class ControlGroups:
    """The groups under ``top``, where cgroup2 is mounted."""

    def __init__(self, top: Path, clock: Clock) -> None:
        self._top = top
        self._clock = clock

    def path(self, place: str) -> Path:
        """The folder of the group ``place``."""
        return self._top / _OURS / place

    def make(self, place: str, wanted: Limits, controllers: frozenset[str]) -> Path:
        """Make the group ``place`` with its limits; raises ``OSError``."""
        used = sorted(limits.used_controllers(wanted, controllers))
        asked = " ".join(f"+{name}" for name in used)
        ours = self._top / _OURS
        ours.mkdir(exist_ok=True)
        for parent in (self._top, ours):
            (parent / "cgroup.subtree_control").write_text(asked)
        group = self.path(place)
        group.mkdir(exist_ok=True)
        for name, text in limits.group_files(wanted, controllers).items():
            (group / name).write_text(text)
        return group

    def places(self) -> frozenset[str]:
        """The groups that there are."""
        try:
            return frozenset(each.name for each in (self._top / _OURS).iterdir() if each.is_dir())
        except FileNotFoundError:
            return frozenset()

    def take_away(self, place: str) -> None:
        """Delete a group; whoever is still in it is killed. Raises ``OSError`` if it stays."""
        group = self.path(place)
        if not group.is_dir():
            return
        (group / "cgroup.kill").write_text("1")
        deadline = self._clock.monotonic() + _EMPTY_S
        while group.is_dir():
            try:
                group.rmdir()
            except OSError as error:
                if error.errno != errno.EBUSY or self._clock.monotonic() > deadline:
                    raise
                self._clock.sleep(_LOOK_AGAIN_S)
        with suppress(OSError):  # others are in there
            group.parent.rmdir()
