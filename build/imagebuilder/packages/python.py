"""Where each Python distribution of the lock comes from on the appliance.

No index has wheels for FreeBSD. What is Python only is taken from its wheel; what has native code
is named in ``image/python.toml``: a package of the repository, or built here from its source. A
pure one that the repository's packages bring anyway is left to them, so that nothing comes twice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from packaging.utils import canonicalize_name

from imagebuilder.packages.lockfile import Locked
from imagebuilder.packages.solve import Wanted
from imagebuilder.packages.version import Version
from imagebuilder.packages.wheel import PythonTarget
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagebuilder.packages.catalogue import Package

SOURCES_MAX: Final = 64


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One C module of a source distribution; paths are relative to its top folder."""

    # As Python imports it.
    module: str
    sources: list[str]
    include: list[str] = []
    # The hexadecimal Py_LIMITED_API it is built for; empty when it needs the headers of one Python.
    limited_api: str = ""
    libraries: list[str] = []


class Native(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One distribution with native code, or with no wheel but native ones: where it comes from."""

    name: str
    # From the repository, or from its locked source: compiled, or only the Python files.
    origin: Literal["package", "crossbuild", "source"] = msgspec.field(name="from")
    why: str
    # The oldest version that will do; empty for any.
    minimum: str = ""
    # Its name in the repository.
    package: str = ""
    # For what is built here: the folder that holds its Python files, and its C modules.
    folder: str = ""
    extension: list[Extension] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    version: str
    flavour: str
    native: list[Native] = []


@dataclass(frozen=True, slots=True)
class PythonSettings:
    """What ``image/python.toml`` says."""

    target: PythonTarget
    # The prefix of Python packages in the repository, as in py312.
    flavour: str
    natives: Mapping[str, Native]


@dataclass(frozen=True, slots=True)
class Division:
    """Every locked distribution once, by where it comes from."""

    # To be taken from wheels, unless the repository brings them; see ``left_to_wheels``.
    pure: tuple[Locked, ...]
    built: tuple[tuple[Locked, Native], ...]
    packages: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Brought:
    """A pure distribution that a package of the repository brings: what was locked, what comes."""

    name: str
    locked: str
    package: str
    version: str


def parse_settings(text: str, where: str = "python.toml") -> PythonSettings:
    """The settings in the TOML ``text``; raises ``UsageError``."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}") from error
    natives: dict[str, Native] = {}
    for native in raw.native:
        name = canonicalize_name(native.name)
        if name in natives:
            raise UsageError(f"{where}: {native.name} comes twice")
        _check(native, where)
        natives[name] = native
    return PythonSettings(PythonTarget(raw.version), raw.flavour, natives)


def _check(native: Native, where: str) -> None:
    if native.origin == "package" and not native.package:
        raise UsageError(f"{where}: {native.name}: say which package of the repository it is")
    if native.origin == "crossbuild" and not (native.folder and native.extension):
        raise UsageError(f"{where}: {native.name}: say its folder and its extensions")
    if native.origin == "source" and (native.extension or not native.folder):
        raise UsageError(f"{where}: {native.name}: say its folder, and no extension")
    paths = [native.folder, *(path for one in native.extension for path in _paths(one))]
    if len(paths) > SOURCES_MAX or any(path.startswith("/") or ".." in path for path in paths):
        raise UsageError(f"{where}: {native.name}: paths stay inside its source")


def _paths(extension: Extension) -> list[str]:
    return [*extension.sources, *extension.include]


def divide(locked: Sequence[Locked], settings: PythonSettings) -> Division:
    """Where everything of the lock comes from; what is not named as native has to be pure.

    Raises ``UsageError`` where something built from the lock is older than its minimum.
    """
    native = [(one, settings.natives[one.name]) for one in locked if one.name in settings.natives]
    for one, said in native:
        if said.origin != "package" and Version(one.version) < Version(said.minimum):
            raise UsageError(
                f"{one.name} is locked at {one.version}, older than {said.minimum}", "run make lock"
            )
    return Division(
        pure=tuple(one for one in locked if one.name not in settings.natives),
        built=tuple(pair for pair in native if pair[1].origin != "package"),
        packages=tuple(
            Wanted(said.package, said.minimum, said.why)
            for _, said in native
            if said.origin == "package"
        ),
    )


def left_to_wheels(
    pure: Iterable[Locked], packages: Iterable[Package], flavour: str
) -> tuple[tuple[Locked, ...], tuple[Brought, ...]]:
    """Which of ``pure`` no chosen package brings, and a note on each of the others."""
    brought = {
        canonicalize_name(package.name.removeprefix(f"{flavour}-")): package
        for package in packages
        if package.name.startswith(f"{flavour}-")
    }
    wheels, notes = [], []
    for one in pure:
        package = brought.get(one.name)
        if package is None:
            wheels.append(one)
        else:
            notes.append(Brought(one.name, one.version, package.name, str(package.version)))
    return tuple(wheels), tuple(notes)
