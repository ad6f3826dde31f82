"""What goes with the disk: the update bundle, the bill of materials, sizes, sums and signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imagebuilder.disk.bundle import write_bundle
from imagebuilder.disk.checksums import SUMS, format_sums, sha256_of
from imagebuilder.disk.manifest import Release
from imagebuilder.disk.signature import sign_file
from imagebuilder.order import NAME
from imagebuilder.packages import sbom
from imagebuilder.steps.release import components_of_sets
from imagebuilder.steps.software import components_in
from imagebuilder.steps.system import SIZES, SLOT, USAGE
from imagebuilder.steps.workshop import read_json, write_json
from imagebuilder.system import product_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imagebuilder.builder import Site
    from imagebuilder.order import Order
    from imagebuilder.steps.workshop import Workshop

PUBLIC_KEY: Final = "signing-key.pub"


def make_bundle(workshop: Workshop, site: Site) -> None:
    """The slot as machines take it for an update."""
    order = workshop.order
    release = Release(
        name=NAME,
        version=order.revision.version,
        arch=order.arch,
        commit=order.revision.commit,
        committed_at=order.revision.committed_at,
    )
    target = site.folder / f"{order.stem}.bundle"
    write_bundle(site.of("slot") / SLOT, target, release, workshop.key, progress=site.progress)


def list_materials(workshop: Workshop, site: Site) -> None:
    """Everything that went into the image, as SPDX."""
    order = workshop.order
    base = site.of("sets")
    components = components_in(base) if order.is_pkgbase else components_of_sets(order, base)
    if order.has_packages:
        components += components_in(site.of("packages"))
    image = sbom.Image(
        name=NAME, version=order.revision.version, created_s=order.revision.committed_at
    )
    (site.folder / f"{order.stem}.spdx.json").write_text(sbom.document(image, components))


def seal(workshop: Workshop, site: Site) -> None:
    """Sizes, checksums of every file of the image, and the signature over them."""
    order = workshop.order
    files = dict(_shipped(order, site))
    product = product_of(order)
    content = {
        "system": read_json(site.of(product.step("tree")) / SIZES),
        "slot": read_json(site.of(product.step("slot")) / USAGE),
        "files": {path.name: path.stat().st_size for path, _ in files.values()},
    }
    sizes = site.folder / f"{order.stem}.sizes.json"
    write_json(sizes, content)
    (site.folder / PUBLIC_KEY).write_text(f"{workshop.key.public.raw.hex()}\n")
    own = {path.name: sha256_of(path) for path in (sizes, site.folder / PUBLIC_KEY)}
    sums = {path.name: digest for path, digest in files.values()} | own
    (site.folder / SUMS).write_text(format_sums(sums))
    sign_file(site.folder / SUMS, workshop.key)


def _shipped(order: Order, site: Site) -> Iterator[tuple[str, tuple[Path, str]]]:
    """Every output that bears the name of the image, with its digest."""
    for step in site.step.needs:
        for name, digest in site.digests_of(step).items():
            if name.startswith(f"{order.stem}."):
                yield name, (site.of(step) / name, digest)
