"""Partitions on a disk: placed apart from each other, aligned, and named the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.disk.partitions import (
    BOOTME,
    DISK_BYTES_MAX,
    FREEBSD_UFS,
    HEAD_SECTORS,
    MIB,
    SECTOR_BYTES,
    TAIL_SECTORS,
    Partition,
    guid_from_seed,
    place,
)
from maculaos.errors import UsageError

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,35}", fullmatch=True)
WANTED = st.lists(
    st.builds(
        Partition,
        name=NAMES,
        kind=st.just(FREEBSD_UFS),
        size_bytes=st.integers(1, 10_000).map(lambda sectors: sectors * SECTOR_BYTES),
        alignment_bytes=st.integers(9, 23).map(lambda bits: 1 << bits),
    ),
    max_size=8,
    unique_by=lambda partition: partition.name,
)


def _slot(name: str = "slotA", size_bytes: int = MIB, alignment_bytes: int = MIB) -> Partition:
    return Partition(
        name=name, kind=FREEBSD_UFS, size_bytes=size_bytes, alignment_bytes=alignment_bytes
    )


@given(WANTED)
def test_partitions_are_aligned_and_never_overlap(wanted: list[Partition]) -> None:
    table = place(wanted, "seed")
    free = HEAD_SECTORS
    for index, (partition, extent) in enumerate(zip(wanted, table.extents, strict=True), 1):
        assert (extent.index, extent.name) == (index, partition.name)
        assert extent.first >= free
        assert extent.offset_bytes % partition.alignment_bytes == 0
        assert extent.size_bytes == partition.size_bytes
        free = extent.last + 1
    assert free - 1 <= table.last_usable == table.sectors - TAIL_SECTORS - 1


@given(WANTED)
def test_disk_is_the_smallest_of_whole_mib(wanted: list[Partition]) -> None:
    table = place(wanted, "seed")
    end = table.extents[-1].last + 1 if table.extents else HEAD_SECTORS
    assert table.size_bytes % MIB == 0
    assert 0 <= table.size_bytes - (end + TAIL_SECTORS) * SECTOR_BYTES < MIB


@given(WANTED, st.text(max_size=20), st.text(max_size=20))
def test_identifiers_follow_from_the_seed(wanted: list[Partition], one: str, other: str) -> None:
    first, second = place(wanted, one), place(wanted, other)
    assert (first == second) is (one == other)
    guids = [first.disk_guid, *(extent.guid for extent in first.extents)]
    assert len(set(guids)) == len(guids)


@given(st.text(), st.text())
def test_identifiers_say_that_they_are_of_an_own_making(seed: str, what: str) -> None:
    guid = guid_from_seed(seed, what)
    assert guid.version == 8
    assert guid.variant == "specified in RFC 4122"


def test_mark_changes_one_partition_only() -> None:
    table = place([_slot("slotA"), _slot("slotB")], "seed")
    marked = table.marked("slotB", BOOTME)
    assert [extent.attributes for extent in marked.extents] == [0, BOOTME]
    assert marked.marked("slotB", 0) == table


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ([_slot(), _slot()], "same name"),
        ([_slot("")], "cannot be the name"),
        ([_slot("a/b")], "cannot be the name"),
        ([_slot("x" * 37)], "cannot be the name"),
        ([_slot(size_bytes=0)], "cannot have 0 bytes"),
        ([_slot(size_bytes=513)], "cannot have 513 bytes"),
        ([_slot(alignment_bytes=256)], "cannot be aligned"),
        ([_slot(alignment_bytes=3 * MIB)], "cannot be aligned"),
        ([_slot(size_bytes=DISK_BYTES_MAX)], "the disk would have"),
        ([_slot(f"p{number}") for number in range(129)], "129 partitions"),
    ],
)
def test_what_no_table_holds_is_refused(wanted: list[Partition], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        place(wanted, "seed")
    assert caught.value.hint


def test_unknown_partition_is_told_with_those_that_are_there() -> None:
    with pytest.raises(UsageError, match=r"no partition 'slotC'; it has: slotA"):
        place([_slot()], "seed").find("slotC")
