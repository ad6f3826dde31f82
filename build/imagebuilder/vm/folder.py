"""The folder of one virtual machine: an overlay above the clean image, variables of its firmware.

The image is only ever read. What the guest writes is in the overlay, which belongs to exactly the
image that it was made for: another image below it would be a broken disk.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imagebuilder.disk.tools import run_tool
from imagebuilder.vm.machine import Disk, DiskFormat, Firmware, Ovmf
from maculaos.errors import UsageError
from maculaos.host.files import make_private_directory, write_atomically

if TYPE_CHECKING:
    from maculaos.host.commands import CommandRunner

OVERLAY: Final = "disk.qcow2"
VARIABLES: Final = "vars.fd"
BASE: Final = "base"

# Where distributions put the firmware; code and variables of one size belong together.
OVMF_PLACES: Final = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    (
        "/usr/local/share/edk2-qemu/QEMU_UEFI_CODE-x86_64.fd",
        "/usr/local/share/edk2-qemu/QEMU_UEFI_VARS-x86_64.fd",
    ),
)
_MIB: Final = 1024 * 1024
_SUFFIXES: Final = (".img", ".qcow2", ".vmdk")
# The first bytes of formats that QEMU writes; anything else is taken for the bytes of a disk.
_MAGIC: Final = {
    b"QFI\xfb": DiskFormat.QCOW2,
    b"KDMV": DiskFormat.VMDK,
    b"\xfd7zX": None,
    b"\x28\xb5\x2f\xfd": None,
}


@dataclass(frozen=True, slots=True)
class MachineFolder:
    """Where one machine keeps what it writes."""

    path: Path

    @property
    def overlay(self) -> Path:
        """The disk that the guest writes to."""
        return self.path / OVERLAY

    def prepare(self, runner: CommandRunner, image: Path, size_mib: int = 0) -> Disk:
        """The disk of the machine: the overlay that is there, or a new one.

        ``size_mib`` makes a new one larger than the image. Raises ``UsageError`` for a file that
        is no disk image, ``CommandFailed`` when qemu-img fails.
        """
        base = _identity(image, size_mib)
        if not self.overlay.exists() or self._base() != base:
            make_private_directory(self.path)
            self.discard()
            self._make_overlay(runner, image, size_mib)
            write_atomically(self.path / BASE, base.encode(), 0o600)
        return Disk(self.overlay)

    def is_kept_for(self, image: Path, size_mib: int = 0) -> bool:
        """Whether ``prepare`` goes on with what the guest wrote before."""
        return self.overlay.exists() and self._base() == _identity(image, size_mib)

    def discard(self) -> None:
        """Forget what the guest wrote, in disk and firmware; nobody may be using them."""
        for name in (BASE, OVERLAY, VARIABLES):
            (self.path / name).unlink(missing_ok=True)

    def firmware(self, firmware: Firmware) -> Ovmf | None:
        """The firmware, with variables of this machine; raises ``UsageError`` if there is none."""
        if firmware is Firmware.BIOS:
            return None
        installed = find_ovmf()
        variables = self.path / VARIABLES
        if not variables.exists():
            shutil.copyfile(installed.variables, variables)
        return Ovmf(installed.code, variables)

    def _make_overlay(self, runner: CommandRunner, image: Path, size_mib: int) -> None:
        backing = ("-b", str(image.resolve()), "-F", disk_format(image).value)
        size = (f"{size_mib}M",) if size_mib else ()
        run_tool(
            runner, "qemu-img", "create", "-q", "-f", "qcow2", *backing, str(self.overlay), *size
        )

    def _base(self) -> str:
        try:
            return (self.path / BASE).read_text("utf-8")
        except OSError:
            return ""


def find_image(place: Path) -> Path:
    """The image: ``place`` itself, or the one in that folder, the raw one first.

    Raises ``UsageError`` when there is none, or more than one to choose from.
    """
    if not place.is_dir():
        disk_format(place)
        return place
    for suffix in _SUFFIXES:
        found = sorted(place.glob(f"*{suffix}"))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise UsageError(f"several images in {place}: {names}", "name one with IMAGE=")
        if found:
            return found[0]
    raise UsageError(f"no image in {place}", "run make image first, or name one with IMAGE=")


def disk_format(image: Path) -> DiskFormat:
    """What the file is, by its first bytes; raises ``UsageError`` for what QEMU cannot boot."""
    try:
        with image.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        hint = "run make image first, or name one with IMAGE="
        raise UsageError(f"no image at {image}: {error.strerror}", hint) from error
    form = _MAGIC.get(magic, DiskFormat.RAW)
    if form is None:
        raise UsageError(f"{image} is compressed", "unpack it first, with xz -dk or zstd -d")
    return form


def find_ovmf() -> Ovmf:
    """The UEFI firmware of this host; raises ``UsageError`` when none is installed."""
    for code, variables in OVMF_PLACES:
        if Path(code).exists() and Path(variables).exists():
            return Ovmf(Path(code), Path(variables))
    raise UsageError("no UEFI firmware for QEMU here", "install Debian's ovmf")


def _identity(image: Path, size_mib: int) -> str:
    """What tells one image from the next at that path, without reading all of it."""
    form = disk_format(image)
    facts = image.stat()
    return f"{image.resolve()} {form} {facts.st_size} {facts.st_mtime_ns} {size_mib}\n"
