"""What lies above the base system: our own wheel, packages, wheels of the lock, C modules."""

from __future__ import annotations

import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.entries import Entry, Kind
from imagebuilder.overlays import LINK_MODE
from imagebuilder.packages import sbom, wheelhouse
from imagebuilder.packages.crossbuild import CrossBuilder, CrossTarget
from imagebuilder.packages.lockfile import on_freebsd, parse_lock
from imagebuilder.packages.provision import Provision, Shelf, provision
from imagebuilder.packages.python import Division, PythonSettings, divide, parse_settings
from imagebuilder.packages.repository import FolderFetcher, open_repository
from imagebuilder.packages.selection import Selection, parse_selection
from imagebuilder.release.index import write_index
from imagebuilder.release.source import is_url
from imagebuilder.steps.repositories import KeepingFetcher, ServerFetcher, Stock
from imagebuilder.steps.workshop import read_json, write_json
from imagebuilder.system import PYTHON
from maculaos.errors import UsageError
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.packages.fingerprints import Trust
    from imagebuilder.packages.lockfile import Locked
    from imagebuilder.packages.repository import Fetcher
    from imagebuilder.steps.workshop import Workshop

ENTRIES: Final = "packages.jsonl"
ACCOUNTS: Final = "accounts.json"
COMPONENTS: Final = "components.json"
# What our own wheel is made from.
OWN_FOLDERS: Final = ("maculaos", "reconciler", "jails")
OWN_FILES: Final = ("pyproject.toml", "README.md", "LICENSE")


def make_wheel(workshop: Workshop, site: Site) -> None:
    """The wheel of our own packages."""
    made = wheelhouse.make_own(workshop.order.checkout, site.folder, site.runner)
    site.note(f"made {made.name}")


def selection_of(order: Order) -> Selection:
    """What ``packages.toml`` says; raises ``UsageError``."""
    path = order.data(order.recipe.contents.packages)
    return parse_selection(_text(path), str(path))


def url_of(order: Order, selection: Selection) -> str:
    """Where the repository is: a URL, or a folder of this host."""
    major = int(order.version.partition(".")[0])
    return order.packages or selection.repository_url(major, order.arch)


def fetch_catalogue(workshop: Workshop, site: Site) -> None:
    """The files of the repository's catalogue, believed."""
    selection = selection_of(workshop.order)
    url = url_of(workshop.order, selection)
    repository = open_repository(
        KeepingFetcher(_origin(workshop, url), site.folder), _trust(url, selection)
    )
    vouched = repository.vouched_by or "nobody: it is a folder of this host"
    site.note(f"{url}: vouched for by {vouched}")


def _origin(workshop: Workshop, url: str) -> Fetcher:
    if is_url(url):
        return ServerFetcher(url, workshop.order.cache / "packages", workshop.downloader)
    return FolderFetcher(Path(url))


def _trust(url: str, selection: Selection) -> Trust | None:
    """Whose signature counts: a folder of this host is believed as its owner is."""
    return selection.trust if is_url(url) else None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What image/ says of everything above the base system."""

    selection: Selection
    settings: PythonSettings
    division: Division


def _wanted(order: Order) -> _Wanted:
    contents = order.recipe.contents
    python, lock = order.data(contents.python), order.data(contents.requirements)
    settings = parse_settings(_text(python), str(python))
    version = settings.target.version
    locked = on_freebsd(parse_lock(_text(lock), str(lock)), version)
    return _Wanted(selection_of(order), settings, divide(locked, settings))


def gather(workshop: Workshop, site: Site) -> None:
    """Entries of packages and wheels, the accounts that they want, and their components."""
    order = workshop.order
    wanted = _wanted(order)
    url = url_of(order, wanted.selection)
    stock = Stock(site.of("catalogue"), _origin(workshop, url))
    # It was believed when it was fetched.
    repository = open_repository(stock, None)
    _fetch_wheels(order, wanted.division.pure, site)
    made = [*site.of("wheel").glob("*.whl"), *_build_native(order, wanted, site)]
    location = url if is_url(url) else sbom.UNKNOWN
    shelf = Shelf(repository, location, order.wheels, workshop.store)
    done = provision(shelf, wanted.selection.wanted, wanted.division, wanted.settings, made)
    _tell(done, site)
    entries = done.installation.entries
    write_index(site.folder / ENTRIES, [*entries, *_python_name(entries, wanted.settings)])
    accounts = {"users": done.installation.users, "groups": done.installation.groups}
    write_json(site.folder / ACCOUNTS, accounts)
    write_json(site.folder / COMPONENTS, [asdict(one) for one in done.components])


def _python_name(entries: Sequence[Entry], settings: PythonSettings) -> list[Entry]:
    """The name without a version that our scripts start Python by; no package of Python has it."""
    version = settings.target.version
    if any(entry.path == PYTHON for entry in entries):
        return []
    return [Entry(path=PYTHON, kind=Kind.SYMLINK, mode=LINK_MODE, target=f"python{version}")]


def _fetch_wheels(order: Order, pure: Sequence[Locked], site: Site) -> None:
    """Fetch the wheels that are not there; what packages bring is fetched too, and not used."""
    missing = [one for one in pure if not _is_there(one, order.wheels)]
    try:
        wheelhouse.fetch(missing, order.wheels, site.runner)
    except CommandFailed as error:
        # Some of them may come with a package, so what is really missing is told later.
        site.note(f"pip could not fetch all wheels: {error}")


def _is_there(one: Locked, folder: Path) -> bool:
    try:
        return bool(wheelhouse.pick([one], folder))
    except UsageError:
        return False


def _build_native(order: Order, wanted: _Wanted, site: Site) -> list[Path]:
    """The C modules that are built here, as wheels."""
    work = order.cache / "crossbuild"
    target = CrossTarget(order.arch, order.version, wanted.settings.target.version)
    headers = Path(sysconfig.get_path("include"))
    builder = CrossBuilder(target, headers, work / "compiler", site.runner)
    wheels = []
    for locked, native in wanted.division.built:
        try:
            source = wheelhouse.pick_source(locked, order.wheels)
        except UsageError:
            _fetch_source(locked, order.wheels, site)
            source = wheelhouse.pick_source(locked, order.wheels)
        wheels.append(builder.build(source, locked, native, work / "wheels"))
    return wheels


def _fetch_source(locked: Locked, folder: Path, site: Site) -> None:
    try:
        wheelhouse.fetch_sources([locked], folder, site.runner)
    except CommandFailed as error:
        site.note(f"pip could not fetch the source of {locked.name}: {error}")


def _tell(done: Provision, site: Site) -> None:
    for package in done.solution.packages:
        site.note(f"package {package.label}")
    for one in done.brought:
        site.note(f"{one.name}: {one.locked} is locked, {one.package} brings {one.version}")
    for script in done.installation.scripts:
        site.note(f"script not run: {script.when} of {script.package}\n{script.text}")


def components_in(folder: Path) -> list[sbom.Component]:
    """What ``gather`` says of its components."""
    return [sbom.Component(**fields) for fields in read_json(folder / COMPONENTS)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", "restore it from Git") from error
