"""Which packages are needed: what is asked for and all it depends on, in an order to install.

A dependency is looked up by its name, and if that is gone by its origin, where several flavours of
one port may stand: then the flavour asked for, or that of the package that wants it, decides. It
chooses nothing else: a repository has one version of each package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imagebuilder.packages.catalogue import Package
from imagebuilder.packages.version import Version
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from imagebuilder.packages.catalogue import Catalogue

SELECTED_MAX: Final = 5_000


class Unsolvable(UsageError):
    """Something that is wanted is not in the catalogue; names it, and who wants it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One package to put in: a name, an origin, or ``origin@flavour``."""

    what: str
    # The oldest version that will do; empty for any.
    minimum: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Solution:
    """Packages, each after those it depends on, save where they depend on one another."""

    packages: tuple[Package, ...]
    # Shared libraries that are needed and not provided by these packages -> who needs them. The
    # base system has to have them.
    libraries: dict[str, tuple[str, ...]] = field(default_factory=dict)


def solve(catalogue: Catalogue, wanted: Sequence[Wanted], flavours: Sequence[str] = ()) -> Solution:
    """The closure of ``wanted``; raises ``Unsolvable`` with every want that cannot be met.

    ``flavours`` are preferred, first one first, where a port has several, as in ``("py312",)``.
    """
    search = _Search(catalogue, tuple(flavours))
    for want in sorted(wanted, key=lambda want: want.what):
        search.ask(want)
    if search.missing:
        raise Unsolvable(
            "the repository lacks " + "; ".join(sorted(search.missing)),
            "choose another repository or branch, or take these out of the list of packages",
        )
    return Solution(tuple(search.order), missing_libraries(search.order))


def missing_libraries(packages: Iterable[Package]) -> dict[str, tuple[str, ...]]:
    """Shared libraries that none of ``packages`` provides, and the names of those who need them."""
    chosen = list(packages)
    provided = {library for package in chosen for library in package.shlibs_provided}
    needed: dict[str, list[str]] = {}
    for package in chosen:
        for library in sorted(set(package.shlibs_required) - provided):
            needed.setdefault(library, []).append(package.name)
    return {library: tuple(sorted(needed[library])) for library in sorted(needed)}


class _Search:
    """A depth-first walk without recursion: chains of dependencies may be long."""

    def __init__(self, catalogue: Catalogue, flavours: tuple[str, ...]) -> None:
        self._catalogue = catalogue
        self._flavours = flavours
        self._seen: set[str] = set()
        self.order: list[Package] = []
        self.missing: list[str] = []

    def ask(self, want: Wanted) -> None:
        """Add what a person wants, and all it depends on."""
        package = self._named(want.what)
        if package is None:
            return
        if want.minimum and Version(str(package.version)) < Version(want.minimum):
            self.missing.append(
                f"{package.name} {want.minimum} or newer (it has {package.version})"
            )
            return
        self._walk(package)

    def _named(self, what: str) -> Package | None:
        origin, _, flavour = what.partition("@")
        package = self._catalogue.by_name.get(what)
        if package is None:
            package = self._of_origin(origin, (flavour,) if flavour else self._flavours)
        if package is None:
            found = self._catalogue.by_origin.get(origin, ())
            choice = f" (choose of {', '.join(sorted(p.name for p in found))})" if found else ""
            self.missing.append(f"{what}, which the list of packages asks for{choice}")
        return package

    def _of_origin(self, origin: str, flavours: tuple[str, ...]) -> Package | None:
        """The only package of a port, or the one of the first flavour that there is."""
        found = self._catalogue.by_origin.get(origin, ())
        for flavour in flavours:
            for package in found:
                if flavour in {package.flavour, package.name.partition("-")[0]}:
                    return package
        return found[0] if len(found) == 1 else None

    def _walk(self, first: Package) -> None:
        if first.name in self._seen:
            return
        self._seen.add(first.name)
        stack = [(first, iter(self._needs(first)))]
        while stack:
            package, needs = stack[-1]
            needed = next((need for need in needs if need.name not in self._seen), None)
            if needed is None:
                self.order.append(package)
                stack.pop()
                continue
            self._seen.add(needed.name)
            if len(self._seen) > SELECTED_MAX:
                raise Unsolvable(f"more than {SELECTED_MAX} packages are needed", "ask for less")
            stack.append((needed, iter(self._needs(needed))))

    def _needs(self, package: Package) -> list[Package]:
        """What ``package`` depends on, in order of name; what is not there is noted."""
        flavours = tuple(filter(None, (package.flavour, package.name.partition("-")[0])))
        needs = []
        for name, origins in package.alternatives():
            found = self._catalogue.by_name.get(name)
            by_origin = (
                self._of_origin(origin, (*flavours, *self._flavours)) for origin in origins
            )
            need = found or next(filter(None, by_origin), None)
            if need is None:
                self.missing.append(f"{name} ({' or '.join(origins)}), which {package.name} needs")
            else:
                needs.append(need)
        return needs
