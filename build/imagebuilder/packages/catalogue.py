"""The catalogue of a repository: every package it has, typed (pkg-repository(5)).

Two forms say the same: ``data`` is one JSON document, ``packagesite.yaml`` is one compact JSON
manifest a line. Both come from the archive beside ``meta.conf``; whose they are is checked before
they are read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from imagebuilder.packages.version import Version
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The official repository of 2026 has 36,000 packages in 90 MB.
PACKAGES_MAX: Final = 200_000
CATALOGUE_BYTES_MAX: Final = 512 * 1024 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+~@-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class BadCatalogue(UsageError):
    """The catalogue is not of the form that pkg writes."""


class Dependency(msgspec.Struct, frozen=True):
    """What a package needs: a port, and the version it was built with."""

    origin: str
    version: str | int = ""


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One package as the catalogue says it; fields that nobody here asks for are left out."""

    name: str
    version: str | int
    origin: str
    # SHA-256 of the .pkg file in hexadecimal, its size in bytes, its path in the repository.
    sha256: str = msgspec.field(name="sum")
    size: int = msgspec.field(name="pkgsize", default=0)
    path: str = ""
    repopath: str = ""
    abi: str = ""
    arch: str = ""
    comment: str = ""
    www: str = ""
    # Bytes when unpacked.
    flatsize: int = 0
    licenses: list[str] = msgspec.field(default_factory=list)
    licenselogic: str = ""
    # An array of dependencies under one name: any of these origins will do.
    deps: dict[str, Dependency | list[Dependency]] = msgspec.field(default_factory=dict)
    shlibs_required: list[str] = msgspec.field(default_factory=list)
    shlibs_provided: list[str] = msgspec.field(default_factory=list)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and version, as people write them."""
        return f"{self.name}-{self.version}"

    @property
    def location(self) -> str:
        """Where the .pkg lies, relative to the root of the repository."""
        return self.path or self.repopath

    @property
    def flavour(self) -> str:
        """The flavour of the port that this is, or nothing."""
        return self.annotations.get("flavor", "")

    def alternatives(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each wanted name with the origins that would serve as well, in order of name."""
        for name, wanted in sorted(self.deps.items()):
            several = wanted if isinstance(wanted, list) else [wanted]
            yield name, tuple(dependency.origin for dependency in several)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Packages by name and by origin; of two with one name the newer counts."""

    by_name: dict[str, Package] = field(default_factory=dict)
    by_origin: dict[str, tuple[Package, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.by_name)


class _Data(msgspec.Struct):
    packages: list[Package]


def parse_data(content: bytes, where: str = "data") -> Catalogue:
    """The catalogue in the JSON document ``data``."""
    _check_size(content, where)
    try:
        return catalogue_of(msgspec.json.decode(content, type=_Data).packages, where)
    except msgspec.DecodeError as error:
        raise BadCatalogue(f"{where}: {error}", "fetch the catalogue again") from error


def parse_packagesite(content: bytes, where: str = "packagesite.yaml") -> Catalogue:
    """The catalogue in ``packagesite.yaml``: one JSON manifest a line."""
    _check_size(content, where)
    decoder = msgspec.json.Decoder(Package)
    packages: list[Package] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            packages.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise BadCatalogue(f"{where}: line {number}: {error}", "fetch it again") from error
    return catalogue_of(packages, where)


def catalogue_of(packages: Iterable[Package], where: str) -> Catalogue:
    """The catalogue of these packages; raises ``BadCatalogue`` for a field that cannot be."""
    by_name: dict[str, Package] = {}
    for count, package in enumerate(packages, 1):
        if count > PACKAGES_MAX:
            raise BadCatalogue(f"{where}: more than {PACKAGES_MAX} packages")
        _check(package, where)
        known = by_name.get(package.name)
        if known is None or Version(str(known.version)) < Version(str(package.version)):
            by_name[package.name] = package
    by_origin: dict[str, list[Package]] = {}
    for name in sorted(by_name):
        by_origin.setdefault(by_name[name].origin, []).append(by_name[name])
    return Catalogue(by_name, {origin: tuple(found) for origin, found in by_origin.items()})


def _check_size(content: bytes, where: str) -> None:
    if len(content) > CATALOGUE_BYTES_MAX:
        raise BadCatalogue(f"{where}: more than {CATALOGUE_BYTES_MAX} bytes")


def _check(package: Package, where: str) -> None:
    """What is used as a name, a path or a hash is checked before anybody uses it."""
    if not _NAME.fullmatch(package.name):
        raise BadCatalogue(f"{where}: {package.name!r} is no name of a package")
    if not _SHA256.fullmatch(package.sha256):
        raise BadCatalogue(f"{where}: {package.name}: sum {package.sha256!r} is no SHA-256")
    if package.size < 0 or package.flatsize < 0:
        raise BadCatalogue(f"{where}: {package.name}: a size below zero")
    if not is_repository_path(package.location):
        raise BadCatalogue(f"{where}: {package.name}: path {package.location!r} is none here")


def is_repository_path(path: str) -> bool:
    """Whether ``path`` is a file below the root of a repository, on any host."""
    if not path.isprintable() or "\\" in path or len(path) > 1024:
        return False
    return all(part not in {"", ".", ".."} for part in path.split("/"))
