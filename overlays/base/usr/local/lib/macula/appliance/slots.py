"""The two slots of the system disk: which one runs, and how the boot marks of both stand.

The marks are three attributes of a GPT partition, which ``gptboot`` obeys in this order: a slot
with *bootonce* and *bootme* is tried once (its *bootme* is cleared before it is loaded); else the
first slot with *bootme* alone boots; else the first slot. A *bootonce* that is found without
*bootme* was tried in vain and is turned into *bootfailed* (gptboot(8), stand/libsa/gpt.c).

Which slot runs is never assumed: the mounted root and the loader must name the same one. What to
do about the marks is decided in ``appliance.decisions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from jails.freebsd import gpart
from maculaos.errors import UsageError

if TYPE_CHECKING:
    from jails.freebsd.gpart import PartitionTable
    from jails.freebsd.mount import Mount

# The sectors that gpart counts in, on every disk this image can be written to.
SECTOR_BYTES: Final = 512
LOADER_VARIABLE: Final = "macula.slot"


class Mark(StrEnum):
    """A boot attribute of a slot."""

    BOOTME = "bootme"
    BOOTONCE = "bootonce"
    BOOTFAILED = "bootfailed"


class Slot(StrEnum):
    """One of the two places that a system can be booted from."""

    A = "A"
    B = "B"

    @property
    def other(self) -> Slot:
        """The one that it is not."""
        return Slot.B if self is Slot.A else Slot.A

    @property
    def label(self) -> str:
        """The name of its partition."""
        return f"slot{self}"

    @property
    def device(self) -> str:
        """Where its bytes are read and written."""
        return f"/dev/gpt/{self.label}"


class UnclearSlots(UsageError):
    """It cannot be said for certain which slot runs, so nothing may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFacts:
    """One slot as the partition table has it."""

    index: int
    size_bytes: int
    marks: frozenset[Mark] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsFacts:
    """Both slots at one moment; ``is_corrupt`` means that the copies of the table differ."""

    disk: str
    running: Slot
    slots: Mapping[Slot, SlotFacts]
    is_corrupt: bool = False

    @property
    def spare(self) -> Slot:
        """The slot that does not run: the only one that may ever be written."""
        return self.running.other

    def has(self, slot: Slot, mark: Mark) -> bool:
        """Whether the slot carries that mark."""
        return mark in self.slots[slot].marks

    @property
    def is_on_trial(self) -> bool:
        """Whether what runs was booted for one try: the next boot takes the other slot."""
        marks = self.slots[self.running].marks
        return Mark.BOOTONCE in marks and Mark.BOOTME not in marks


def set_argv(disk: str, index: int, mark: Mark) -> tuple[str, ...]:
    """Give a partition that mark; *bootonce* brings *bootme* with it."""
    return ("gpart", "set", "-a", str(mark), "-i", str(index), disk)


def unset_argv(disk: str, index: int, mark: Mark) -> tuple[str, ...]:
    """Take that mark from a partition."""
    return ("gpart", "unset", "-a", str(mark), "-i", str(index), disk)


def recover_argv(disk: str) -> tuple[str, ...]:
    """Write both copies of the table anew, the second one at the end of the disk."""
    return ("gpart", "recover", disk)


def tables_with(text: str, *labels: str) -> tuple[PartitionTable, ...]:
    """The tables that hold one of these labels, from an answer of ``gpart show -l``.

    Tables of other disks are not even read: their labels may be anything.
    """
    blocks = [f"=>{block}" for block in text.split("=>")[1:]]
    ours = [block for block in blocks if set(labels) & set(block.split())]
    return gpart.parse_tables("\n".join(ours))


def read_facts(
    mounts: tuple[Mount, ...], environment: Mapping[str, str], tables: str
) -> SlotsFacts:
    """What ``mount -p``, ``kenv`` and ``gpart show -l`` say together; raises ``UnclearSlots``."""
    table = _only_table(tables)
    running = _running(mounts, environment)
    facts = SlotsFacts(
        disk=table.disk,
        running=running,
        slots={slot: _slot(table, slot) for slot in Slot},
        is_corrupt=table.is_corrupt,
    )
    _refuse_mounted_spare(facts, mounts)
    return facts


def _only_table(text: str) -> PartitionTable:
    tables = tables_with(text, *(slot.label for slot in Slot))
    if not tables:
        raise UnclearSlots("no disk has partitions slotA and slotB", "is this an appliance?")
    if len(tables) > 1:
        disks = " and ".join(table.disk for table in tables)
        raise UnclearSlots(f"{disks} both have slots", "unplug the disk that is not the system's")
    return tables[0]


def _running(mounts: tuple[Mount, ...], environment: Mapping[str, str]) -> Slot:
    roots = [mount.source for mount in mounts if mount.path == "/"]
    mounted = [slot for slot in Slot if roots == [slot.device]]
    told = environment.get(LOADER_VARIABLE, "nothing")
    if not mounted or told != mounted[0]:
        root = " then ".join(roots) or "nothing"
        raise UnclearSlots(
            f"which slot runs is not clear: {root} is mounted as root, the loader said {told}",
            "reboot, then try again",
        )
    return mounted[0]


def _slot(table: PartitionTable, slot: Slot) -> SlotFacts:
    found = [each for each in table.partitions if each.what == slot.label]
    if len(found) != 1:
        number = len(found) or "no"
        raise UnclearSlots(
            f"{table.disk} has {number} partitions called {slot.label}",
            "write the image to the disk anew",
        )
    known = {str(mark): mark for mark in Mark}
    return SlotFacts(
        index=found[0].index,
        size_bytes=found[0].size * SECTOR_BYTES,
        marks=frozenset(known[name] for name in found[0].attributes if name in known),
    )


def _refuse_mounted_spare(facts: SlotsFacts, mounts: tuple[Mount, ...]) -> None:
    spare = facts.spare
    names = (spare.device, f"/dev/{facts.disk}p{facts.slots[spare].index}")
    for mount in mounts:
        if mount.source in names:
            raise UnclearSlots(
                f"slot {spare} is mounted on {mount.path}", f"umount {mount.path}, then try again"
            )
