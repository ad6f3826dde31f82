"""Names of what a jail has on the host outside of its directory: derived, never remembered.

They hold a digest of the root of all jails, so two installations on one machine stay apart, and
whatever a crash left can be found by its name alone.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jails.naming import Names, derive
from jails.runtime import is_jail_name

if TYPE_CHECKING:
    from pathlib import Path

_ROOT_DIGITS = 8


@dataclass(frozen=True, slots=True)
class Labels:
    """The names of one jail."""

    # Of network namespace, nftables table and control group, and the alias of the interface.
    place: str
    interfaces: Names


class Naming:
    """Names of the jails under one root."""

    def __init__(self, root: Path) -> None:
        where = os.path.realpath(root).encode()
        self._prefix = f"macula-{hashlib.sha256(where).hexdigest()[:_ROOT_DIGITS]}-"

    def of(self, jail: str) -> Labels:
        """The names of the jail ``jail``."""
        place = f"{self._prefix}{jail}"
        return Labels(place, derive(place))

    def jail_of(self, place: str) -> str | None:
        """The jail whose ``Labels.place`` this is; None if it is none of ours."""
        jail = place.removeprefix(self._prefix)
        return jail if place.startswith(self._prefix) and is_jail_name(jail) else None
