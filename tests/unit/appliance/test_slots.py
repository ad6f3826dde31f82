"""Slots: which one runs is said by mount and loader together, or nobody writes anything."""

from __future__ import annotations

import pytest

from appliance.model import ModelDisk
from appliance.slots import Mark, Slot, SlotsFacts, UnclearSlots, read_facts
from jails.freebsd.mount import Mount

DISK = ModelDisk(300 << 20, content={slot: bytearray() for slot in Slot})
STICK = (
    "=>     34  2457533  da0  GPT  (1.2G)\n      40     1024      1  Basic data partition  (1G)\n"
)


def mounted(source: str, path: str = "/") -> Mount:
    return Mount(source=source, path=path, kind="ufs", options=("ro",))


def read(*mounts: Mount, told: str | None = "A", tables: str | None = None) -> SlotsFacts:
    environment = {} if told is None else {"macula.slot": told}
    return read_facts(mounts, environment, DISK.shown() if tables is None else tables)


def test_running_slot_is_the_one_that_mount_and_loader_name() -> None:
    facts = read(mounted("/dev/gpt/slotA"))
    assert (facts.disk, facts.running, facts.spare) == ("vtbd0", Slot.A, Slot.B)
    assert facts.slots[Slot.A].marks == {Mark.BOOTME}
    assert facts.slots[Slot.B].size_bytes == 300 << 20
    assert not facts.is_on_trial


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        (("/dev/gpt/slotA",), "B"),
        (("/dev/gpt/slotA",), None),
        (("/dev/gpt/slotA",), ""),
        (("/dev/vtbd0p3",), "A"),
        ((), "A"),
        (("/dev/gpt/slotA", "/dev/gpt/slotB"), "A"),
        (("/dev/gpt/slotA", "tmpfs"), "A"),
    ],
)
def test_doubt_about_the_running_slot_is_an_error(
    sources: tuple[str, ...], told: str | None
) -> None:
    with pytest.raises(UnclearSlots, match="not clear"):
        read(*map(mounted, sources), told=told)


@pytest.mark.parametrize("source", ["/dev/gpt/slotB", "/dev/vtbd0p4"])
def test_mounted_spare_slot_is_an_error(source: str) -> None:
    with pytest.raises(UnclearSlots, match="umount /mnt"):
        read(mounted("/dev/gpt/slotA"), mounted(source, "/mnt"))


def test_tables_of_other_disks_are_not_even_read() -> None:
    facts = read(mounted("/dev/gpt/slotA"), tables=STICK + "\n" + DISK.shown())
    assert facts.disk == "vtbd0"


def test_second_disk_with_slots_is_an_error() -> None:
    twice = DISK.shown() + DISK.shown().replace("vtbd0", "da0")
    with pytest.raises(UnclearSlots, match="vtbd0 and da0"):
        read(mounted("/dev/gpt/slotA"), tables=twice)


@pytest.mark.parametrize("tables", ["", STICK])
def test_machine_without_slots_is_no_appliance(tables: str) -> None:
    with pytest.raises(UnclearSlots, match="no disk"):
        read(mounted("/dev/gpt/slotA"), tables=tables)


def test_missing_slot_is_an_error() -> None:
    with pytest.raises(UnclearSlots, match="no partitions called slotB"):
        read(mounted("/dev/gpt/slotA"), tables=DISK.shown().replace("slotB", "other"))
