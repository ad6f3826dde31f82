"""Media: boot code, the EFI partition, empty partitions, the disk, and its other forms."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from imagebuilder.disk import formats, gpt
from imagebuilder.disk.disk import Parts, write_disk
from imagebuilder.disk.esp import Esp, build_esp, loader_path
from imagebuilder.disk.layout import BOOT, CFG, DATA, ESP, SLOTS, appliance_partitions
from imagebuilder.disk.partitions import place
from imagebuilder.entries import Entry, Kind
from imagebuilder.filesystem.accounts import Accounts
from imagebuilder.filesystem.tree import Layer, merge
from imagebuilder.filesystem.ufs import write_ufs
from imagebuilder.steps.system import SLOT
from imagebuilder.steps.workshop import entries_in
from imagebuilder.system import GPTBOOT, PMBR, product_of
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from imagebuilder.builder import Site
    from imagebuilder.disk.formats import Format
    from imagebuilder.disk.partitions import Partition
    from imagebuilder.steps.workshop import Workshop

EFI: Final = "efi.fat"
_PMBR: Final = "pmbr"
_GPTBOOT: Final = "gptboot"
# Fragments of 4 KiB in a cylinder group, which has 128 files: one file for each 16 KiB of cfg, and
# for each 64 KiB of data. Groups that growfs(8) adds are of the same kind.
_GROUP_FRAGMENTS: Final = {CFG: 512, DATA: 2048}


def make_boot(workshop: Workshop, site: Site) -> None:
    """Boot code for BIOS, where the architecture has it, and the EFI partition."""
    order = workshop.order
    entries = entries_in(site.of("unpack") / "base.jsonl")
    if order.has_bios:
        for name, path in ((_PMBR, PMBR), (_GPTBOOT, GPTBOOT)):
            shutil.copyfile(_source(entries, path), site.folder / name)
        gpt.boot_code((site.folder / _PMBR).read_bytes())
    esp = Esp(
        size_bytes=order.recipe.disk.sizes().esp_bytes,
        epoch=order.revision.committed_at,
        seed=order.system_seed,
        files={loader_path(order.arch): _source(entries, "boot/gptboot.efi")},
    )
    build_esp(site.runner, esp, site.folder / EFI)


def _source(entries: list[Entry], path: str) -> Path:
    """The bytes of a file of the release, through hard links."""
    by_path = {entry.path: entry for entry in entries}
    entry = by_path.get(path)
    if entry is not None and entry.is_hard_link:
        entry = by_path.get(entry.same_as)
    if entry is None or entry.source is None:
        raise UsageError(f"the release has no {path}", "take 13.0 or newer, with its set base")
    return entry.source


def make_volumes(workshop: Workshop, site: Site) -> None:
    """Empty file systems for the partitions that the machine writes to."""
    order = workshop.order
    sizes = order.recipe.disk.sizes()
    root = Entry(path="", kind=Kind.FOLDER, mode=0o755)
    for name, size in ((CFG, sizes.cfg_bytes), (DATA, sizes.data_bytes)):
        write_ufs(
            merge([Layer(name, [root])]),
            Accounts({"root": 0}, {"wheel": 0}),
            site.folder / f"{name}.ufs",
            size=size,
            time_s=order.revision.committed_at,
            group_fragments_max=_GROUP_FRAGMENTS[name],
        )


def make_disk(workshop: Workshop, site: Site) -> None:
    """The disk: both slots with the same bytes, and room for the machine."""
    volumes, slot = site.of("volumes"), site.of("slot") / SLOT
    contents = {
        CFG: volumes / f"{CFG}.ufs",
        DATA: volumes / f"{DATA}.ufs",
        **dict.fromkeys(SLOTS, slot),
    }
    write_media(workshop, site, appliance_partitions(workshop.order.recipe.disk.sizes()), contents)


def write_media(
    workshop: Workshop, site: Site, partitions: Sequence[Partition], contents: Mapping[str, Path]
) -> None:
    """The disk of the order with these contents by partition, and what firmware starts from."""
    order, boot = workshop.order, site.of("boot")
    starting, code = {ESP: boot / EFI}, b""
    if order.has_bios:
        starting[BOOT] = boot / _GPTBOOT
        code = gpt.boot_code((boot / _PMBR).read_bytes())
    table = place(partitions, order.seed)
    parts = Parts(table=table, contents={**starting, **contents}, boot_code=code)
    disk = write_disk(parts, site.folder / f"{order.stem}.img", site.progress)
    site.note(f"{disk.size_bytes} bytes, sha256 {disk.sha256}")


def convert(form: Format, workshop: Workshop, site: Site) -> None:
    """The disk in the form of a virtual machine."""
    stem = workshop.order.stem
    raw = _raw(workshop, site)
    formats.convert(site.runner, raw, site.folder / f"{stem}.{form.value}", form)


def compress_zstd(workshop: Workshop, site: Site) -> None:
    """The disk to download."""
    stem, window = workshop.order.stem, workshop.order.recipe.formats.zstd_window_log
    raw = _raw(workshop, site)
    formats.compress_zstd(site.runner, raw, site.folder / f"{stem}.img.zst", window)


def compress_xz(workshop: Workshop, site: Site) -> None:
    """The same for who has no zstd."""
    stem = workshop.order.stem
    raw = _raw(workshop, site)
    formats.compress_xz(site.runner, raw, site.folder / f"{stem}.img.xz")


def _raw(workshop: Workshop, site: Site) -> Path:
    """The disk that the other forms are made from."""
    order = workshop.order
    return site.of(product_of(order).step("disk")) / f"{order.stem}.img"
