"""Who runs for the jails under one root: by the process table alone, without any record.

Records can be deleted while their jail runs. A keeper is still known by its command line, which
names the jail's directory; a program, and whatever it started, by ``MACULA_JAIL`` in the
environment that it was started with, wherever it went since. Only processes of our own user are
counted, so nobody else can pretend.

Not found: a keeper under a root that was reached through a link which is gone too; and, once its
keeper is dead, a program that was given another environment by its parent, that wrote over its
own, or that changed its user. On macOS programs of the system itself never show theirs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jails.keeper.records import JAIL_VARIABLE
from jails.runtime import is_jail_name
from maculaos.host.processes import ProcessMark

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from maculaos.host.processes import ProcessTable, Sighting

_KEEPER = ("-m", "jails.keeper")


@dataclass(frozen=True, slots=True)
class Presence:
    """What of one jail was met; each keeper with its launch, each program's first foremost."""

    keepers: dict[ProcessMark, int] = field(default_factory=dict)
    programs: list[ProcessMark] = field(default_factory=list)

    def lost_keepers(self, launch: int | None) -> tuple[ProcessMark, ...]:
        """Those that no record accounts for, if ``launch`` is the one on record."""
        return tuple(keeper for keeper, own in self.keepers.items() if own != launch)


def take_census(root: Path, processes: ProcessTable) -> Mapping[str, Presence]:
    """Who runs for which jail under ``root``, by name, in one pass over the process table."""
    census: dict[str, Presence] = {}
    names = _Names(root)
    for sighting in processes.scan(JAIL_VARIABLE):
        keeper = _directory_and_launch(sighting)
        path = keeper[0] if keeper else sighting.value
        name = names.of(path) if path else None
        if name is None:
            continue
        presence = census.setdefault(name, Presence())
        if keeper:
            presence.keepers[sighting.process] = keeper[1]
        else:
            place = 0 if sighting.leads_session else len(presence.programs)
            presence.programs.insert(place, sighting.process)
    return census


def _directory_and_launch(sighting: Sighting) -> tuple[str, int] | None:
    """Of a keeper, or of what it has just forked: see ``jails.keeper.__main__``."""
    words = sighting.arguments[-4:]
    if len(words) < 4 or words[:2] != _KEEPER or not words[3].isdigit():
        return None
    return words[2], int(words[3])


class _Names:
    """Jail names of paths; the same root may be written in several ways."""

    def __init__(self, root: Path) -> None:
        self._is_root = {str(root): True}
        self._resolved = os.path.realpath(root)

    def of(self, path: str) -> str | None:
        """The name of the jail whose directory ``path`` is or was; None if not under our root."""
        parent, name = os.path.split(path)
        if parent not in self._is_root:
            self._is_root[parent] = os.path.realpath(parent) == self._resolved
        return name if self._is_root[parent] and is_jail_name(name) else None
