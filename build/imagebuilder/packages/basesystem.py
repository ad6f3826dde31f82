"""The base system as packages (freebsd-base(7)): which of them, and which release they are.

Pure. A list names packages and why; this adds what they depend on, and what brings the libraries
that they load, as base packages mostly need each other by libraries alone. Kinds of packages that
an appliance never has (debug symbols, headers, manuals, sources) are cut off, even where another
one wants them. Whether what is left is whole is asked of the tree, not here.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from imagebuilder.packages.catalogue import Catalogue, Package, catalogue_of
from imagebuilder.packages.fingerprints import Trust, trust_of
from imagebuilder.packages.solve import Wanted, solve
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PREFIX: Final = "FreeBSD-"
KERNEL_PREFIX: Final = "FreeBSD-kernel-"
# Each round adds the packages of libraries that the one before it needs; chains are short.
ROUNDS_MAX: Final = 50
_VERSION: Final = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})(?:p([0-9]{1,3}))?")
# What __FreeBSD_version counts: 1501000 is 15.1.
_COUNTED: Final = re.compile(r"([0-9]{2})([0-9]{2})[0-9]{3}")
_ANNOTATION: Final = "FreeBSD_version"


class BasePackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One package of the list."""

    name: str
    why: str
    # Whether a release may do without: its files lie in another package there, or nowhere.
    may_lack: bool = False


class _Repository(msgspec.Struct, forbid_unknown_fields=True):
    url: str
    trusted: list[str]
    revoked: list[str] = []


class _Never(msgspec.Struct, forbid_unknown_fields=True):
    kinds: list[str]
    why: str


class _File(msgspec.Struct, forbid_unknown_fields=True):
    repository: _Repository
    never: _Never
    package: list[BasePackage]


@dataclass(frozen=True, slots=True)
class BaseSelection:
    """A repository of base packages and what to take from it."""

    # With {major}, {minor} and {arch} for the release and architecture of the image.
    url: str
    trust: Trust
    wanted: tuple[BasePackage, ...]
    # Words that no part of a package's name may be, as in FreeBSD-clibs-dev.
    never: frozenset[str] = frozenset()

    def repository_url(self, version: str, arch: str) -> str:
        """Where the repository for ``version``, such as 15.1, and that architecture lies."""
        major, _, minor = version.partition(".")
        url = self.url.replace("{major}", major).replace("{minor}", minor)
        return url.replace("{arch}", arch)

    def refuses(self, name: str) -> bool:
        """Whether a package is of a kind that is never taken."""
        return not self.never.isdisjoint(name.split("-")[1:])


@dataclass(frozen=True, slots=True)
class Choice:
    """What makes the base system, each after those it depends on."""

    packages: tuple[Package, ...]
    # For the log: what the repository lacks, what was cut off.
    notes: tuple[str, ...] = ()


def parse_base_selection(text: str, where: str = "pkgbase.toml") -> BaseSelection:
    """The selection in the TOML ``text``; raises ``UsageError`` naming ``where``."""
    try:
        raw = msgspec.convert(tomllib.loads(text), _File)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{where}: {error}") from error
    selection = BaseSelection(
        raw.repository.url,
        trust_of(raw.repository.trusted, raw.repository.revoked),
        tuple(raw.package),
        frozenset(raw.never.kinds),
    )
    names = [package.name for package in raw.package]
    for name in names:
        if not name.startswith(PREFIX) or selection.refuses(name):
            raise UsageError(f"{where}: {name} is no package that a base system here is made of")
        if names.count(name) > 1:
            raise UsageError(f"{where}: {name} comes twice")
    return selection


def choose(catalogue: Catalogue, selection: BaseSelection) -> Choice:
    """The packages of the list, and all that they need, as far as the repository has it.

    Raises ``UsageError`` with every package that may not be lacking and is.
    """
    usable, cut = _usable(catalogue, selection)
    there = [one.name for one in selection.wanted if one.name in usable.by_name]
    gone = [one for one in selection.wanted if one.name not in usable.by_name]
    if missing := [one.name for one in gone if not one.may_lack]:
        raise UsageError(
            f"the repository of base packages has no {', '.join(missing)}",
            "take another repository, or change the list in image/pkgbase.toml",
        )
    packages, unmet = _closed(usable, there)
    notes = [f"{one.name} is not in this release: {one.why}" for one in gone]
    for package in packages:
        notes += [f"{name} is left out, which {package.name} wants" for name in cut[package.name]]
    notes += [f"no package brings {library}, which {needer} needs" for library, needer in unmet]
    return Choice(tuple(packages), tuple(notes))


def _usable(
    catalogue: Catalogue, selection: BaseSelection
) -> tuple[Catalogue, dict[str, list[str]]]:
    """The catalogue without the kinds that are never taken, and who wanted those."""
    cut: dict[str, list[str]] = {}
    packages = []
    for name, package in catalogue.by_name.items():
        if not selection.refuses(name):
            cut[name] = [wanted for wanted in sorted(package.deps) if selection.refuses(wanted)]
            deps = {key: value for key, value in package.deps.items() if key not in cut[name]}
            packages.append(msgspec.structs.replace(package, deps=deps))
    return catalogue_of(packages, "the base repository"), cut


def _closed(
    catalogue: Catalogue, names: Sequence[str]
) -> tuple[tuple[Package, ...], list[tuple[str, str]]]:
    """All that ``names`` need by name or by library; libraries that nobody has, and who needs."""
    providers = _providers(catalogue)
    wanted = dict.fromkeys(names)
    for _ in range(ROUNDS_MAX):
        solution = solve(catalogue, [Wanted(name) for name in wanted])
        found = {providers[library] for library in solution.libraries if library in providers}
        if not found:
            unmet = [(library, who[0]) for library, who in solution.libraries.items()]
            return solution.packages, unmet
        wanted |= dict.fromkeys(sorted(found))
    raise UsageError(
        f"base packages need each other's libraries over more than {ROUNDS_MAX} steps",
        "take another repository",
    )


def _providers(catalogue: Catalogue) -> dict[str, str]:
    """Library -> the first package by name that brings it."""
    providers: dict[str, str] = {}
    for name in sorted(catalogue.by_name):
        for library in catalogue.by_name[name].shlibs_provided:
            providers.setdefault(library, name)
    return providers


def release_of(packages: Iterable[Package], asked: str) -> str:
    """Which release the packages are, such as 15.1-RELEASE-p2; ``asked`` is as in 15.1-RELEASE.

    The newest patch level among them counts: a patch makes new packages. Raises ``UsageError`` for
    packages of another release than the one asked for.
    """
    version, _, rest = asked.partition("-")
    patch = 0
    known = {package.label: _told(package) for package in packages}
    for label, told in known.items():
        if told is not None and told[0] != version:
            raise UsageError(
                f"{label} is of FreeBSD {told[0]}, not {version}",
                f"say RELEASE={told[0]}, or give the repository of {version}",
            )
        patch = max(patch, told[1] if told else 0)
    if not any(known.values()):
        raise UsageError(
            "no package of the base system tells its release", "take another repository"
        )
    branch, _, level = rest.partition("-")
    if level and level != f"p{patch}":
        raise UsageError(f"the packages are {version}p{patch}, not {asked}", f"say {version}")
    return f"{version}-{branch}" + (f"-p{patch}" if patch else "")


def _told(package: Package) -> tuple[str, int] | None:
    """Version and patch level that a base package tells of."""
    if not package.name.startswith(PREFIX):
        return None
    if found := _VERSION.fullmatch(str(package.version)):
        return f"{found[1]}.{found[2]}", int(found[3] or 0)
    if found := _COUNTED.fullmatch(package.annotations.get(_ANNOTATION, "")):
        return f"{int(found[1])}.{int(found[2])}", 0
    return None
