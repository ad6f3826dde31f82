"""What was begun on the host for one jail, on record in its directory.

Written before anything is made. What can be found by its derived name is looked for even without
a record; bridge, release hooks and what counts as whole are known from here only, and so is what
is made again while the program runs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jails.spec import Forward, Network, NetworkKind
from maculaos.host.files import remove_leftovers, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from jails.keeper.records import JailDirectory

_MOST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What surrounds a jail; empty where the host's own serves."""

    network: Network = field(default_factory=Network)
    forwards: tuple[Forward, ...] = ()
    # Shared folders, and which folder each of them was: a program goes on seeing that one.
    folders: tuple[tuple[str, str], ...] = ()
    # Commands to run when it is gone.
    release: tuple[tuple[str, ...], ...] = ()


def read_record(directory: JailDirectory) -> Record | None:
    """The record, if there is a sound one; in any other form there is none, as for a lost one."""
    try:
        with _path(directory).open("rb") as file:
            said = json.loads(file.read(_MOST_BYTES))
        return Record(
            network=_network(said["network"]),
            forwards=tuple(map(_forward, said["forwards"])),
            folders=tuple((str(path), str(place)) for path, place in said["folders"]),
            release=tuple(tuple(map(str, command)) for command in said["release"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_record(directory: JailDirectory, record: Record) -> None:
    """Replace the record."""
    write_atomically(_path(directory), json.dumps(asdict(record), indent=1).encode(), 0o600)


def delete_record(directory: JailDirectory) -> None:
    """Delete it, and what a crash left of one; when nothing surrounds the jail any more."""
    remove_leftovers(_path(directory))
    _path(directory).unlink(missing_ok=True)


def _network(said: dict[str, Any]) -> Network:
    return Network(**{**said, "kind": NetworkKind(said["kind"])})


def _forward(said: dict[str, Any]) -> Forward:
    return Forward(**said)


def _path(directory: JailDirectory) -> Path:
    return directory.path / "surroundings.json"
