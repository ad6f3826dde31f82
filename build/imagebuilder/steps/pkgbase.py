"""The base system made of packages: on this machine, checked; and what is in them, as entries.

The steps bear the names and outputs of those that read sets, so that all others are the same. The
catalogue is pinned as a MANIFEST is: the same packages come with each build until a person says
otherwise. Scripts of packages are never run; the log has each.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.order import BASE_LAYERS
from imagebuilder.packages import sbom
from imagebuilder.packages.basesystem import (
    KERNEL_PREFIX,
    BaseSelection,
    Choice,
    choose,
    parse_base_selection,
    release_of,
)
from imagebuilder.packages.installation import install
from imagebuilder.packages.package import read_package
from imagebuilder.packages.repository import FolderFetcher, Repository, check_file, open_repository
from imagebuilder.release.index import write_index
from imagebuilder.release.lock import catalogue_key, confirm_pin, read_pins
from imagebuilder.release.source import is_url
from imagebuilder.steps.release import RELEASE
from imagebuilder.steps.repositories import KeepingFetcher, Mirrored
from imagebuilder.steps.software import COMPONENTS
from imagebuilder.steps.workshop import read_json, write_json
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.packages.package import Unpacked
    from imagebuilder.steps.workshop import Workshop

CACHE: Final = "pkgbase"
BASE, KERNEL = (f"{layer}.jsonl" for layer in BASE_LAYERS)
# No package brings the root, though some list it.
_ROOT: Final = Entry(path="", kind=Kind.FOLDER, mode=0o755)


@dataclass(frozen=True, slots=True)
class _Found:
    """A repository that may be used, and what is taken from it."""

    repository: Repository
    choice: Choice
    # As in 15.1-RELEASE-p2.
    release: str


def fetch_base(workshop: Workshop, site: Site) -> None:
    """``release.json``: which packages make the base system, and where they lie; each checked."""
    order = workshop.order
    selection = selection_of(order)
    found = _pinned(workshop, selection, site)
    repository, choice = found.repository, found.choice
    for note in choice.notes:
        site.note(f"note: {note}")
    packages = []
    for number, package in enumerate(choice.packages):
        site.progress(number, len(choice.packages))
        file = repository.fetcher.fetch(package.location, package.sha256, package.size)
        packages.append({"name": package.name, "path": str(file), "sha256": package.sha256})
        site.note(f"package {package.label}")
    content = {
        "catalogue_sha256": repository.sha256,
        "freebsd": found.release,
        "packages": packages,
    }
    write_json(site.folder / RELEASE, content)
    location = url_of(order, selection)
    told = location if is_url(location) else sbom.UNKNOWN
    components = [asdict(sbom.of_package(package, told)) for package in choice.packages]
    write_json(site.folder / COMPONENTS, components)


def unpack_base(workshop: Workshop, site: Site) -> None:
    """``base.jsonl`` and ``kernel.jsonl``: the entries of all packages, as those of two sets."""
    release = read_json(site.of("sets") / RELEASE)
    unpacked = []
    for number, package in enumerate(release["packages"]):
        site.progress(number, len(release["packages"]))
        file = Path(package["path"])
        # It was right when it was fetched, which another build may have done.
        check_file(file, package["sha256"], 0)
        unpacked.append(read_package(file, workshop.store, package["name"]))
    whole = install(unpacked, {})
    for script in whole.scripts:
        site.note(f"script not run: {script.when} of {script.package}\n{script.text}")
    base, kernel = _paths(unpacked)
    # A folder may lie in both, as in sets.
    below = [one for one in whole.entries if one.path in base]
    write_index(site.folder / BASE, [_ROOT, *below])
    write_index(site.folder / KERNEL, [one for one in whole.entries if one.path in kernel])
    write_json(site.folder / RELEASE, {"freebsd": release["freebsd"]})
    site.note(f"{release['freebsd']}: {len(whole.entries)} entries")


def _paths(unpacked: Sequence[Unpacked]) -> tuple[set[str], set[str]]:
    """What packages of the base system bring, and what those of kernels do."""
    base: set[str] = set()
    kernel: set[str] = set()
    for one in unpacked:
        paths = kernel if one.manifest.name.startswith(KERNEL_PREFIX) else base
        paths.update(entry.path for entry in one.entries)
    return base, kernel


def selection_of(order: Order) -> BaseSelection:
    """What ``pkgbase.toml`` says; raises ``UsageError``."""
    path = order.data(order.recipe.release.pkgbase)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "restore it from Git") from error
    return parse_base_selection(text, str(path))


def url_of(order: Order, selection: BaseSelection) -> str:
    """Where the repository is: a URL, or a folder of this host."""
    return order.sets or selection.repository_url(order.version, order.arch)


def place_of_packages(order: Order) -> str:
    """What decides which packages are taken: the URL, or the folder and how its files look."""
    place = url_of(order, selection_of(order))
    if is_url(place):
        return place
    # The catalogue lies at the top, and names the packages with their digests.
    seen = [(path.name, path.stat()) for path in sorted(Path(place).iterdir()) if path.is_file()]
    files = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in seen]
    return "\n".join([place, *files])


def are_packages_there(order: Order, folder: Path) -> bool:
    """Whether the packages still lie there, and the pin is still that of their catalogue."""
    try:
        release = read_json(folder / RELEASE)
    except (OSError, json.JSONDecodeError):
        return False
    pin = read_pins(order.lock).get(catalogue_key(order.release, order.arch))
    here = all(Path(package["path"]).is_file() for package in release["packages"])
    return here and pin == release["catalogue_sha256"] and not order.refresh


def _pinned(workshop: Workshop, selection: BaseSelection, site: Site) -> _Found:
    """The repository, believed, with the catalogue that is pinned."""
    place = url_of(workshop.order, selection)
    if is_url(place):
        return _mirrored(workshop, selection, site)
    # A folder of this host is believed as its owner is.
    repository = open_repository(FolderFetcher(Path(place)), None)
    site.note(f"{place}: vouched for by nobody: it is a folder of this host")
    return _confirmed(workshop.order, selection, repository)


def _mirrored(workshop: Workshop, selection: BaseSelection, site: Site) -> _Found:
    """A server's repository: the catalogue that is kept if it is the pinned one, or a new one."""
    order, url = workshop.order, url_of(workshop.order, selection)
    folder = order.cache / CACHE / f"{order.release}-{order.arch}"
    folder.mkdir(parents=True, exist_ok=True)
    what = f"the base packages of {order.release} {order.arch}"
    mirror = Mirrored(url, folder, workshop.downloader, what)
    kept = None if order.refresh else _kept(order, folder, selection, site)
    if kept is not None:
        found = _confirmed(order, selection, kept)
    else:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
            fetched = open_repository(KeepingFetcher(mirror, Path(new)), selection.trust)
            # Only what may be used takes the place of what was used.
            found = _confirmed(order, selection, fetched)
            for file in sorted(Path(new).iterdir()):
                file.replace(folder / file.name)
    site.note(f"{url}: vouched for by {found.repository.vouched_by}")
    return replace(found, repository=replace(found.repository, fetcher=mirror))


def _kept(order: Order, folder: Path, selection: BaseSelection, site: Site) -> Repository | None:
    """The repository by the catalogue in ``folder``; None if that is not to be used."""
    try:
        repository = open_repository(FolderFetcher(folder), selection.trust)
    except UsageError as error:
        site.note(f"no catalogue kept: {error}")
        return None
    pin = read_pins(order.lock).get(catalogue_key(order.release, order.arch))
    return repository if pin in (None, repository.sha256) else None


def _confirmed(order: Order, selection: BaseSelection, repository: Repository) -> _Found:
    """Choose, then pin the catalogue or refuse another one: what is of no use is never pinned."""
    choice = choose(repository.catalogue, selection)
    release = release_of(choice.packages, order.release)
    confirm_pin(
        order.lock,
        catalogue_key(order.release, order.arch),
        repository.sha256,
        "catalogue of base packages",
        "build again with IMAGE_ARGS=--refresh",
    )
    return _Found(repository, choice, release)
