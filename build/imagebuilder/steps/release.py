"""The release: its sets on this machine, checked; and what is in them, as entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder.packages import sbom
from imagebuilder.release.index import indexed_set, write_index
from imagebuilder.release.lock import read_pins
from imagebuilder.release.source import Wanted, default_url, is_url, obtain
from imagebuilder.steps.workshop import read_json, write_json

if TYPE_CHECKING:
    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.steps.workshop import Workshop

RELEASE = "release.json"


def fetch_sets(workshop: Workshop, site: Site) -> None:
    """``release.json``: where the sets lie, and their digests; every one checked."""
    order = workshop.order
    release = obtain(
        Wanted(order.release, order.arch, order.recipe.release.sets),
        order.sets,
        cache=order.cache / "sets",
        lock=order.lock,
        downloader=workshop.downloader,
    )
    archives = {
        name: {"path": str(path), "sha256": release.manifest.find(name).sha256}
        for name, path in release.archives.items()
    }
    content = {"manifest_sha256": release.manifest_sha256, "archives": archives}
    write_json(site.folder / RELEASE, content)


def place_of_sets(order: Order) -> str:
    """What decides which sets are taken: the URL, or the folder and how its files look."""
    if not order.sets or is_url(order.sets):
        return order.sets or default_url(Wanted(order.release, order.arch))
    folder = Path(order.sets)
    seen = [(path.name, path.stat()) for path in sorted(folder.iterdir()) if path.is_file()]
    files = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in seen]
    return "\n".join([str(folder), *files])


def are_sets_there(order: Order, folder: Path) -> bool:
    """Whether the archives still lie there, and the pin is still that of their MANIFEST."""
    try:
        release = read_json(folder / RELEASE)
    except (OSError, json.JSONDecodeError):
        return False
    pin = read_pins(order.lock).get((order.release, order.arch))
    here = all(Path(archive["path"]).is_file() for archive in release["archives"].values())
    return here and pin == release["manifest_sha256"]


def unpack_sets(workshop: Workshop, site: Site) -> None:
    """``NAME.jsonl`` for each set: its entries, with their bytes in the store."""
    archives = read_json(site.of("sets") / RELEASE)["archives"]
    for number, name in enumerate(workshop.order.recipe.release.sets):
        site.progress(number, len(archives))
        archive = archives[name]
        entries = indexed_set(
            Path(archive["path"]), archive["sha256"], workshop.store, workshop.indexes
        )
        write_index(site.folder / f"{name}.jsonl", entries)
        site.note(f"{name}: {len(entries)} entries")


def release_in(order: Order, folder: Path) -> str:
    """Which release it is, as in 15.1-RELEASE; ``folder`` is that of the step unpack.

    Base packages tell their patch level; of sets nothing more is known than what was asked for.
    """
    path = folder / RELEASE
    return str(read_json(path)["freebsd"]) if path.is_file() else order.release


def components_of_sets(order: Order, folder: Path) -> list[sbom.Component]:
    """The sets as parts of the bill of materials; ``folder`` is that of ``fetch_sets``."""
    url = order.sets or default_url(Wanted(order.release, order.arch))
    return [
        sbom.of_set(
            name,
            order.release,
            archive["sha256"],
            f"{url}/{Path(archive['path']).name}" if is_url(url) else sbom.UNKNOWN,
        )
        for name, archive in read_json(folder / RELEASE)["archives"].items()
    ]
