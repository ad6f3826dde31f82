"""The layout of an appliance: what was proved to boot, sector for sector."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagebuilder.disk.layout import (
    BOOT_BYTES,
    SLOTS,
    Sizes,
    appliance_partitions,
    stick_partitions,
)
from imagebuilder.disk.partitions import BOOTME, FREEBSD_UFS, GIB, MIB, place
from maculaos.errors import UsageError


def test_layout_is_the_one_that_booted() -> None:
    # gpart show of the machine that booted under BIOS and UEFI: index, name, first, sectors.
    table = place(appliance_partitions(Sizes(slot_bytes=300 * MIB)), "seed")
    found = [(part.index, part.name, part.first, part.size_bytes // 512) for part in table.extents]
    assert found == [
        (1, "boot", 40, 1024),
        (2, "efi", 2048, 8192),
        (3, "slotA", 16384, 614400),
        (4, "slotB", 630784, 614400),
        (5, "cfg", 1245184, 65536),
        (6, "data", 1310720, 614400),
    ]


def test_only_slots_can_be_taken_for_slots() -> None:
    partitions = appliance_partitions(Sizes(slot_bytes=MIB))
    assert [part.name for part in partitions if part.kind == FREEBSD_UFS] == list(SLOTS)
    assert [part.name for part in partitions if part.attributes & BOOTME] == [SLOTS[0]]


def test_a_stick_starts_as_an_appliance_does_and_shares_no_other_name() -> None:
    sizes = Sizes(slot_bytes=300 * MIB)
    stick, appliance = stick_partitions(sizes, 8 * MIB), appliance_partitions(sizes)
    assert stick[:2] == appliance[:2]
    assert not {part.name for part in stick[2:]} & {part.name for part in appliance}
    # gptboot starts the third, as it does the first slot; the copy beside it fits a slot.
    for mine, theirs in zip(stick[2:4], appliance[2:4], strict=True):
        assert replace(mine, name=theirs.name) == theirs
    assert [part.name for part in stick if part.kind == FREEBSD_UFS] == ["installer", "system"]


def test_boot_partition_is_below_the_limit_of_pmbr() -> None:
    assert BOOT_BYTES < 545_000


@pytest.mark.parametrize(
    ("name", "size"),
    [("slot", 0), ("slot", MIB + 512), ("slot", 5 * GIB), ("esp", 513 * MIB), ("cfg", -MIB)],
)
def test_sizes_out_of_bounds_are_refused(name: str, size: int) -> None:
    sizes = {"slot_bytes": MIB, f"{name}_bytes": size}
    with pytest.raises(UsageError, match=r"image/image\.toml"):
        Sizes(**sizes)
