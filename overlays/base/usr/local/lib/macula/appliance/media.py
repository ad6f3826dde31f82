"""Where a seed may lie when the machine has none: a FAT file system on its own disk or another.

Sticks, second disks and the EFI partition are looked at, read-only, one after the other; only what
begins like FAT is mounted at all. What is found is not believed here: ``appliance.seed`` reads it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from appliance.device import RawDevice
from appliance.firstboot import Found
from appliance.seed import BYTES_MAX
from jails.freebsd import mount
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from appliance.places import Places
    from maculaos.host.commands import CommandRunner

SEED_NAME: Final = "seed.toml"
DEVICES_MAX: Final = 32
# The EFI partition of the image is what a laptop shows of a stick that the image was written to.
_ESP: Final = "gpt/efi"
_DEVICE: Final = re.compile(r"(da|ada|vtbd|nda|nvd|mmcsd)\d{1,3}(p\d{1,2}|s\d{1,2})?")
# Whole sectors, also of disks whose sectors are large.
_SECTOR_BYTES: Final = 4096
_MOUNT_TIMEOUT_S: Final = 15.0
# Microsoft, "FAT: general overview of on-disk format", 2000: where the name of the type stands.
_FAT_MARKS: Final = ((54, b"FAT"), (82, b"FAT32"))


def candidates(names: Iterable[str]) -> tuple[str, ...]:
    """What is worth looking at, of the names below /dev: partitions before their disks."""
    found = sorted(name for name in names if _DEVICE.fullmatch(name))
    parts = [name for name in found if re.search(r"\d[ps]\d", name)]
    disks = [name for name in found if name not in parts]
    return (_ESP, *parts, *disks)[:DEVICES_MAX]


def is_fat(sector: bytes) -> bool:
    """Whether a file system that begins so is FAT; its boot mark alone says nothing."""
    marked = any(sector[at : at + len(mark)] == mark for at, mark in _FAT_MARKS)
    return marked and sector[510:512] == b"\x55\xaa"


class Media:
    """The disks and sticks of this machine."""

    def __init__(self, places: Places, runner: CommandRunner) -> None:
        self._devices = places.root / "dev"
        self._shown = places.root / "var/run/macula-seed"
        self._runner = runner

    def find(self) -> Found | None:
        """The first seed there is; never raises for what cannot be read."""
        names = [path.name for path in self._devices.iterdir()] if self._devices.is_dir() else []
        for name in candidates(names):
            device = self._devices / name
            if _begins_like_fat(device):
                content = self._read(device)
                if content is not None:
                    return Found(where=f"{SEED_NAME} on {name}", content=content)
        return None

    def _read(self, device: Path) -> bytes | None:
        self._shown.mkdir(parents=True, exist_ok=True)
        argv = ("mount", "-t", "msdosfs", "-o", "ro,noexec,nosuid", str(device), str(self._shown))
        try:
            self._runner.run(*argv, timeout_s=_MOUNT_TIMEOUT_S)
        except CommandFailed:
            return None
        try:
            with (self._shown / SEED_NAME).open("rb") as opened:
                # One byte more than may be there, so that too much is noticed.
                return opened.read(BYTES_MAX + 1)
        except OSError:
            return None
        finally:
            with suppress(CommandFailed):
                self._runner.run(*mount.unmount_argv(str(self._shown), by_force=True))


def _begins_like_fat(device: Path) -> bool:
    try:
        opened = RawDevice(device, is_writable=False)
    except OSError:
        return False
    try:
        return is_fat(opened.read_at(0, _SECTOR_BYTES))
    except OSError:
        return False
    finally:
        opened.close()
