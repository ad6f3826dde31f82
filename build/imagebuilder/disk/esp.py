"""The EFI system partition: a FAT file system with the loader where firmware looks for it.

Made by mkfs.vfat (dosfstools) and mtools, so it needs no root and no mount. Serial number and
times are given, so two builds are equal. The loader is gptboot.efi: FreeBSD's loader.efi takes no
notice of which slot is to boot. How the firmware finds the partition is the matter of the table.
Another label and other files make any small FAT partition, such as the one for answers on a stick.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from imagebuilder.disk.drafts import draft
from imagebuilder.disk.partitions import MIB, guid_from_seed
from imagebuilder.disk.tools import run_tool
from maculaos.errors import UsageError
from maculaos.host.commands import CommandRunner

# UEFI specification 2.10, 3.5.1.1: what firmware starts from a disk that it was told nothing of.
LOADERS: Final = {"amd64": "EFI/BOOT/BOOTX64.EFI", "aarch64": "EFI/BOOT/BOOTAA64.EFI"}
LABEL: Final = "EFI"
FILES_MAX: Final = 64

# FAT counts years from 1980 in 7 bits.
_EPOCH_MIN: Final = 315_532_800
_EPOCH_MAX: Final = 4_354_819_199
_LABEL: Final = re.compile(r"[A-Z0-9]{1,11}")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# FAT12, FAT16 and FAT32 hold so much with clusters that every firmware reads.
_FAT12_MAX: Final = 8 * MIB
_FAT16_MAX: Final = 256 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Esp:
    """What an EFI system partition shall hold."""

    size_bytes: int
    # Seconds since the epoch, from the commit; FAT keeps them to two seconds.
    epoch: int
    # Whatever names this build; the serial number of the volume is made from it.
    seed: str
    # Where each file goes, such as "EFI/BOOT/BOOTX64.EFI", and where its bytes are.
    files: Mapping[str, Path] = field(default_factory=dict)
    # What people see; the serial number depends on it too.
    label: str = LABEL

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for what FAT cannot hold."""
        if not _EPOCH_MIN <= self.epoch <= _EPOCH_MAX:
            raise UsageError(f"FAT has no time {self.epoch}", "choose one from 1980 to 2107")
        if not MIB <= self.size_bytes <= 512 * MIB or self.size_bytes % MIB:
            raise UsageError(
                f"the EFI partition cannot have {self.size_bytes} bytes",
                "choose whole MiB from 1 to 512 in image/image.toml",
            )
        if not _LABEL.fullmatch(self.label):
            raise UsageError(f"FAT has no label {self.label!r}", "use 1 to 11 of A-Z and 0-9")
        if len(self.files) > FILES_MAX:
            raise UsageError(f"{len(self.files)} files are too many", f"at most {FILES_MAX}")
        _check_paths(self.files)


def loader_path(architecture: str) -> str:
    """Where firmware of this architecture looks for a loader; raises ``UsageError``."""
    if architecture not in LOADERS:
        raise UsageError(f"no EFI loader for {architecture}", f"known: {', '.join(LOADERS)}")
    return LOADERS[architecture]


def build_esp(runner: CommandRunner, esp: Esp, target: Path) -> None:
    """Make the file system in the file ``target``; replaces it only when it is whole.

    Raises ``UsageError`` when the files do not fit, ``CommandFailed`` when a tool fails.
    """
    _check_room(esp)
    with draft(target) as image:
        with image.open("wb") as file:
            file.truncate(esp.size_bytes)
        tools = _Tools(runner, esp.epoch)
        tools.run("mkfs.vfat", *_format_words(esp), str(image))
        folders = _folders(esp.files)
        if folders:
            tools.run("mmd", "-i", str(image), *(f"::/{folder}" for folder in folders))
        for path in sorted(esp.files):
            tools.run("mcopy", "-i", str(image), str(esp.files[path]), f"::/{path}")


def list_files(runner: CommandRunner, image: Path) -> tuple[str, ...]:
    """Every file in the file system, sorted, such as ``EFI/BOOT/BOOTX64.EFI``."""
    listed = _Tools(runner).run("mdir", "-/", "-b", "-i", str(image), "::").splitlines()
    paths = (line.strip().removeprefix("::/") for line in listed)
    return tuple(sorted(path for path in paths if path and not path.endswith("/")))


def copy_out(runner: CommandRunner, image: Path, path: str, target: Path) -> None:
    """Write the file at ``path`` in the file system to ``target``."""
    _Tools(runner).run("mcopy", "-n", "-i", str(image), f"::/{path}", str(target))


@dataclass(frozen=True, slots=True)
class _Tools:
    """mkfs.vfat and mtools, deaf to the settings and the time of whoever builds."""

    runner: CommandRunner
    epoch: int = _EPOCH_MIN

    def run(self, *argv: str) -> str:
        """Run one of the tools; its standard output."""
        environment = (
            "LC_ALL=C",
            "TZ=UTC",
            f"MTOOLSRC={os.devnull}",
            # The geometry in a file is nobody's; mtools would refuse an odd one.
            "MTOOLS_SKIP_CHECK=1",
            f"SOURCE_DATE_EPOCH={self.epoch}",
        )
        return run_tool(self.runner, *argv, environment=environment)


def _format_words(esp: Esp) -> tuple[str, ...]:
    serial = guid_from_seed(esp.seed, f"{esp.label.lower()} volume").int & 0xFFFFFFFF
    # --invariant comes first: it sets a serial number of its own.
    bits = str(_fat_bits(esp.size_bytes))
    return ("--invariant", "-F", bits, "-n", esp.label, "-i", f"{serial:08x}")


def _fat_bits(size_bytes: int) -> int:
    if size_bytes <= _FAT12_MAX:
        return 12
    return 16 if size_bytes <= _FAT16_MAX else 32


def _folders(files: Mapping[str, Path]) -> list[str]:
    """Every folder above a file, parents first."""
    parts = [path.split("/")[:-1] for path in files]
    return sorted({"/".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)})


def _check_paths(files: Mapping[str, Path]) -> None:
    for path in files:
        if not all(_NAME.fullmatch(name) for name in path.split("/")):
            raise UsageError(
                f"{path!r} cannot lie on the EFI partition",
                "use names of up to 64 letters, digits, '.', '_' and '-', with / between",
            )
    spelled = {*files, *_folders(files)}
    # FAT keeps the case of names, and takes those that differ in it alone for the same.
    if len({path.upper() for path in spelled}) < len(files) + len(_folders(files)):
        raise UsageError("two paths on the EFI partition are the same", "case makes no difference")


def _check_room(esp: Esp) -> None:
    """Half a MiB stays free: tables, folders, and the ends of clusters."""
    wanted = sum(source.stat().st_size for source in esp.files.values())
    if wanted > esp.size_bytes - MIB // 2:
        raise UsageError(
            f"{wanted} bytes do not fit into an EFI partition of {esp.size_bytes}",
            "make it larger in image/image.toml",
        )
