"""Update bundles made from the very image under test, sound ones and such as must fall back.

A slot is spoiled by replacing text in it with other text of the same length, in one file's blocks:
the file system stays whole, and no FreeBSD tool is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imagebuilder.disk.bundle import write_bundle
from imagebuilder.disk.disk import copy_partition, read_table
from imagebuilder.disk.layout import SLOTS
from imagebuilder.disk.manifest import Release
from imagebuilder.disk.signature import SigningKey, generate_key, load_signing_key, public_path
from imagebuilder.disk.tools import run_tool
from imagebuilder.vm.folder import disk_format
from imagebuilder.vm.machine import DiskFormat
from maculaos.host.commands import SystemRunner
from maculaos.host.entropy import SystemEntropy

# In the kernel: where it looks for init(8). Without one it panics.
INIT_PATH: Final = b"/sbin/init:/sbin/oinit:/rescue/init"
NO_INIT: Final = b"/sbin/nope:/sbin/onope:/rescue/nope"
_BLOCK_BYTES: Final = 8 << 20
# Later than any commit that an image is of: 2100-01-01.
_COMMITTED_AT: Final = 4_102_444_800


@dataclass(frozen=True, slots=True)
class Forge:
    """Makes bundles in ``folder``, signed by a key of its own."""

    folder: Path

    def slot_of(self, image: Path) -> Path:
        """The system of the image, as a file of its own; made once."""
        slot = self.folder / "slot"
        if not slot.exists():
            raw = self._raw(image)
            table = read_table(raw).table
            assert table is not None, f"{image} has no partition table"
            copy_partition(raw, table.find(SLOTS[0]), slot)
        return slot

    def spoil(self, slot: Path, old: bytes, new: bytes) -> Path:
        """A copy of the slot in which ``new`` stands wherever ``old`` stood."""
        assert len(old) == len(new)
        spoiled = self.folder / "spoiled"
        count = 0
        with slot.open("rb") as source, spoiled.open("wb") as target:
            kept = b""
            while block := source.read(_BLOCK_BYTES):
                joined = kept + block
                count += joined.count(old)
                joined = joined.replace(old, new)
                # What might begin the text stays until the rest of it is there.
                kept = joined[-len(old) + 1 :]
                target.write(joined[: -len(old) + 1])
            target.write(kept)
        assert count, f"{old!r} is nowhere in the slot"
        return spoiled

    def key(self, name: str = "trusted") -> SigningKey:
        """A key of that name, made when it is first asked for."""
        path = self.folder / f"{name}.pem"
        if not path.exists():
            generate_key(path, SystemEntropy())
        return load_signing_key(path)

    def public_file(self, name: str = "trusted") -> Path:
        """The public half of a key, as the appliance takes it."""
        self.key(name)
        return public_path(self.folder / f"{name}.pem")

    def bundle(self, slot: Path, version: str, key: str = "trusted") -> Path:
        """A bundle of the slot, signed by the key of that name."""
        target = self.folder / f"{version}.bundle"
        release = Release(
            name="maculaos",
            version=version,
            arch="amd64",
            commit="0" * 40,
            committed_at=_COMMITTED_AT,
        )
        write_bundle(slot, target, release, self.key(key))
        return target

    def corrupt(self, bundle: Path) -> Path:
        """A copy of the bundle with one bit of its last chunk turned over."""
        target = self.folder / f"corrupt-{bundle.name}"
        content = bytearray(bundle.read_bytes())
        content[-100] ^= 1
        target.write_bytes(content)
        return target

    def _raw(self, image: Path) -> Path:
        form = disk_format(image)
        if form is DiskFormat.RAW:
            return image
        raw = self.folder / "disk.img"
        run_tool(
            SystemRunner(),
            "qemu-img",
            "convert",
            "-f",
            form.value,
            "-O",
            "raw",
            str(image),
            str(raw),
        )
        return raw
