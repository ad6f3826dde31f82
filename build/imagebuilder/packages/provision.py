"""Everything above the base system in one go: packages, wheels, and what is to be said of them.

It joins the rooms beside it and decides nothing of its own. Fetching wheels and building native
ones happens before; the base system's part of the tree and of the SBOM is laid by others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.packages import sbom
from imagebuilder.packages.installation import Installation, install
from imagebuilder.packages.python import Brought, Division, PythonSettings, left_to_wheels
from imagebuilder.packages.repository import Repository
from imagebuilder.packages.solve import Solution, Wanted, solve
from imagebuilder.packages.store import ContentStore
from imagebuilder.packages.wheel import read_wheel
from imagebuilder.packages.wheelhouse import pick

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where everything is."""

    repository: Repository
    # For the SBOM: the URL of the repository, or NOASSERTION for a folder of this host.
    url: str
    # A folder with the pure wheels of the lock.
    wheels: Path
    store: ContentStore


@dataclass(frozen=True, slots=True)
class Provision:
    """What goes above the base system, and what its builder should know."""

    installation: Installation
    solution: Solution
    # Locked distributions that packages bring in a version of their own.
    brought: tuple[Brought, ...]
    components: tuple[sbom.Component, ...]


def provision(
    shelf: Shelf,
    wanted: Sequence[Wanted],
    division: Division,
    settings: PythonSettings,
    made: Sequence[Path],
) -> Provision:
    """Solve, unpack, and put together; ``made`` are the wheels built here, ours and native ones.

    Raises ``UsageError`` of one of the rooms: something missing, damaged, or brought twice.
    """
    asked = {want.what: want for want in (*wanted, *division.packages)}
    solution = solve(shelf.repository.catalogue, tuple(asked.values()), (settings.flavour,))
    pure, brought = left_to_wheels(division.pure, solution.packages, settings.flavour)
    files = [*pick(pure, shelf.wheels), *made]
    wheels = [read_wheel(file, shelf.store, settings.target) for file in files]
    unpacked = [shelf.repository.unpack(package, shelf.store) for package in solution.packages]
    packages = [sbom.of_package(package, shelf.url) for package in solution.packages]
    distributions = [
        sbom.of_wheel(wheel.name, wheel.version, _sha256(file))
        for wheel, file in zip(wheels, files, strict=True)
    ]
    return Provision(
        installation=install(unpacked, {wheel.label: wheel.entries for wheel in wheels}),
        solution=solution,
        brought=brought,
        components=(*packages, *distributions),
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
