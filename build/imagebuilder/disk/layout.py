"""The layout of a disk: which partitions an appliance has, or the stick that installs one.

Pure. Order and types are those that were proved to boot on real FreeBSD under BIOS and UEFI:
the loader knows its slot by the partition index 3 or 4, and gptboot takes only freebsd-ufs
partitions for slots, so no other partition has that type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from imagebuilder.disk.partitions import (
    BOOTME,
    EFI_SYSTEM,
    FREEBSD_BOOT,
    FREEBSD_SWAP,
    FREEBSD_UFS,
    GIB,
    KIB,
    MIB,
    MS_BASIC_DATA,
    Partition,
)
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from uuid import UUID

BOOT: Final = "boot"
ESP: Final = "efi"
SLOTS: Final = ("slotA", "slotB")
CFG: Final = "cfg"
DATA: Final = "data"
# Of the stick: names that no appliance has, so that neither takes the other's root for its own.
INSTALLER: Final = "installer"
SYSTEM: Final = "system"
SEED: Final = "seed"

# pmbr loads at most 545 KB of freebsd-boot into low memory.
BOOT_BYTES: Final = 512 * KIB
# Whatever flash erases at once: slots and data never share such a block with a neighbour.
SLOT_ALIGNMENT_BYTES: Final = 4 * MIB
# pmbr and gptboot read single sectors; 4 KiB is what disks write at once.
_BOOT_ALIGNMENT_BYTES: Final = 4 * KIB
# The type of what is neither slot nor boot code. Only /etc/fstab makes FreeBSD swap, never this.
_OTHER: Final[UUID] = FREEBSD_SWAP


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the partitions are, in bytes, whole MiB each."""

    # Both slots; larger leaves room for later releases, and doubles on the disk.
    slot_bytes: int
    # Holds gptboot.efi; newer releases bring a larger one than older ones.
    esp_bytes: int = 4 * MIB
    # Settings, keys and slot state.
    cfg_bytes: int = 32 * MIB
    # Only a start: it grows to the end of the machine's disk at the first boot.
    data_bytes: int = 300 * MIB

    def __post_init__(self) -> None:
        """Raise ``UsageError`` for a size that cannot be."""
        # A bundle carries a whole slot, and its format ends at 4 GiB.
        self._check("slot", self.slot_bytes, 4 * GIB)
        self._check("efi", self.esp_bytes, 512 * MIB)
        self._check("cfg", self.cfg_bytes, 4 * GIB)
        self._check("data", self.data_bytes, 32 * GIB)

    @staticmethod
    def _check(name: str, size: int, limit: int) -> None:
        if not 0 < size <= limit or size % MIB:
            raise UsageError(
                f"{name} cannot have {size} bytes",
                f"choose whole MiB from 1 to {limit // MIB} in image/image.toml",
            )


def appliance_partitions(sizes: Sizes) -> tuple[Partition, ...]:
    """The partitions of an appliance, numbered from 1 in this order; the first slot boots.

    ``boot`` stays on machines without BIOS too: it keeps the numbers of the slots.
    """
    slot_a, slot_b = SLOTS
    return (
        *_starting(sizes),
        _large(slot_a, FREEBSD_UFS, sizes.slot_bytes, BOOTME),
        _large(slot_b, FREEBSD_UFS, sizes.slot_bytes),
        _large(CFG, _OTHER, sizes.cfg_bytes),
        # The last one, so that nothing is in the way of its growth.
        _large(DATA, _OTHER, sizes.data_bytes),
    )


def stick_partitions(sizes: Sizes, seed_bytes: int) -> tuple[Partition, ...]:
    """The partitions of a stick that installs an appliance with these sizes, numbered from 1.

    The installer boots. The system is what it copies; the seed is for who installs, and ordinary
    computers show a partition of its type.
    """
    return (
        *_starting(sizes),
        _large(INSTALLER, FREEBSD_UFS, sizes.slot_bytes, BOOTME),
        _large(SYSTEM, FREEBSD_UFS, sizes.slot_bytes),
        _large(SEED, MS_BASIC_DATA, seed_bytes),
    )


def _starting(sizes: Sizes) -> tuple[Partition, ...]:
    """What firmware starts from, BIOS and UEFI."""
    return (
        Partition(
            name=BOOT,
            kind=FREEBSD_BOOT,
            size_bytes=BOOT_BYTES,
            alignment_bytes=_BOOT_ALIGNMENT_BYTES,
        ),
        Partition(name=ESP, kind=EFI_SYSTEM, size_bytes=sizes.esp_bytes),
    )


def _large(name: str, kind: UUID, size_bytes: int, attributes: int = 0) -> Partition:
    return Partition(
        name=name,
        kind=kind,
        size_bytes=size_bytes,
        alignment_bytes=SLOT_ALIGNMENT_BYTES,
        attributes=attributes,
    )
