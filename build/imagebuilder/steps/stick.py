"""The stick of the installer: what it copies written down, a partition for answers, its disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imagebuilder.disk.checksums import format_sums
from imagebuilder.disk.esp import Esp, build_esp
from imagebuilder.disk.layout import ESP, INSTALLER, SEED, SYSTEM, stick_partitions
from imagebuilder.disk.partitions import MIB
from imagebuilder.entries import Entry, Kind
from imagebuilder.release.index import write_index
from imagebuilder.steps.media import EFI, write_media
from imagebuilder.steps.system import SLOT
from imagebuilder.system import CHECKSUMS

if TYPE_CHECKING:
    from imagebuilder.builder import Site
    from imagebuilder.recipe import InstallerPart
    from imagebuilder.steps.workshop import Workshop
    from imagebuilder.system import System

# Where the installer looks for them.
SUMS_PATH: Final = "usr/local/share/macula/installer/SHA256SUMS"
SEED_FILE: Final = "seed.fat"
# What people see when they put the stick into a computer.
SEED_LABEL: Final = "SEED"


def write_checksums(workshop: Workshop, site: Site) -> None:
    """A layer with the SHA-256 of both partitions that the installer copies, whole as they are."""
    sums = {ESP: site.digests_of("boot")[EFI], SYSTEM: site.digests_of("slot")[SLOT]}
    entry = Entry(
        path=SUMS_PATH,
        kind=Kind.FILE,
        mode=0o444,
        source=workshop.store.add_bytes(format_sums(sums).encode()),
    )
    write_index(site.folder / f"{CHECKSUMS}.jsonl", [entry])


def make_seed(installer: InstallerPart, workshop: Workshop, site: Site) -> None:
    """An empty FAT file system, for ``installer.toml`` and ``seed.toml``."""
    order = workshop.order
    fat = Esp(
        size_bytes=installer.seed_mib * MIB,
        epoch=order.revision.committed_at,
        seed=order.seed,
        label=SEED_LABEL,
    )
    build_esp(site.runner, fat, site.folder / SEED_FILE)


def make_stick(installer: InstallerPart, stick: System, workshop: Workshop, site: Site) -> None:
    """The disk: the installer, which boots, and the slot of the appliance that it copies."""
    contents = {
        INSTALLER: site.of(stick.step("slot")) / SLOT,
        SYSTEM: site.of("slot") / SLOT,
        SEED: site.of(stick.step("seed")) / SEED_FILE,
    }
    sizes = workshop.order.recipe.disk.sizes()
    partitions = stick_partitions(sizes, installer.seed_mib * MIB)
    write_media(workshop, site, partitions, contents)
