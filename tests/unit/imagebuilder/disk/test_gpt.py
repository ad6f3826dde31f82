"""The partition table in bytes: what is written is read, and no damage goes unseen."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.disk import gpt
from imagebuilder.disk.layout import Sizes, appliance_partitions
from imagebuilder.disk.partitions import (
    BOOTFAILED,
    BOOTME,
    BOOTONCE,
    EFI_SYSTEM,
    MIB,
    SECTOR_BYTES,
    Partition,
    Table,
    place,
)
from maculaos.errors import UsageError

TABLE = place(appliance_partitions(Sizes(slot_bytes=2 * MIB, data_bytes=MIB)), "seed")
WANTED = st.lists(
    st.builds(
        Partition,
        name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,35}", fullmatch=True),
        kind=st.just(EFI_SYSTEM),
        size_bytes=st.integers(1, 10_000).map(lambda sectors: sectors * SECTOR_BYTES),
        attributes=st.integers(0, 2**64 - 1),
    ),
    max_size=12,
    unique_by=lambda partition: partition.name,
)


def _parse(encoded: gpt.Encoded, table: Table = TABLE) -> gpt.Reading:
    return gpt.parse(encoded.head, encoded.tail, table.sectors)


def _flipped(content: bytes, at: int, mask: int) -> bytes:
    return content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :]


@given(WANTED, st.text(max_size=10), st.binary(max_size=446))
def test_what_is_written_is_read(wanted: list[Partition], seed: str, code: bytes) -> None:
    table = place(wanted, seed)
    encoded = gpt.encode(table, code)
    assert _parse(encoded, table) == gpt.Reading(table, ())
    assert encoded.head[: len(code)] == code
    assert (len(encoded.head), len(encoded.tail)) == (gpt.HEAD_BYTES, gpt.TAIL_BYTES)


@given(st.integers(SECTOR_BYTES, gpt.HEAD_BYTES - 1), st.integers(1, 255))
def test_any_flipped_byte_of_the_primary_is_told_and_the_backup_counts(at: int, mask: int) -> None:
    encoded = gpt.encode(TABLE)
    reading = _parse(gpt.Encoded(_flipped(encoded.head, at, mask), encoded.tail))
    assert reading.table == TABLE
    (damage,) = reading.damage
    assert damage.startswith("primary ")


@given(st.integers(0, gpt.TAIL_BYTES - 1), st.integers(1, 255))
def test_any_flipped_byte_of_the_backup_is_told_and_the_primary_counts(at: int, mask: int) -> None:
    encoded = gpt.encode(TABLE)
    reading = _parse(gpt.Encoded(encoded.head, _flipped(encoded.tail, at, mask)))
    assert reading.table == TABLE
    (damage,) = reading.damage
    assert damage.startswith("backup ")


@given(st.integers(0, 2**32))
def test_noise_is_no_table(seed: int) -> None:
    noise = random.Random(seed).randbytes(gpt.HEAD_BYTES) if seed else bytes(gpt.HEAD_BYTES)
    reading = gpt.parse(noise, noise[: gpt.TAIL_BYTES], TABLE.sectors)
    assert reading.table is None
    assert len(reading.damage) == 3


def test_table_may_have_128_partitions() -> None:
    wanted = [Partition(name=f"p{n}", kind=EFI_SYSTEM, size_bytes=512) for n in range(128)]
    table = place(wanted, "seed")
    assert _parse(gpt.encode(table), table) == gpt.Reading(table, ())


def test_tables_that_differ_are_told_and_the_primary_counts() -> None:
    # What a power cut leaves between gptboot's two writes.
    tried = TABLE.marked("slotB", BOOTONCE)
    reading = _parse(gpt.Encoded(gpt.encode(tried).head, gpt.encode(TABLE).tail))
    assert reading == gpt.Reading(tried, ("the two tables differ: the primary counts",))


def test_disk_that_was_made_larger_has_no_backup_at_its_end() -> None:
    reading = gpt.parse(gpt.encode(TABLE).head, bytes(gpt.TAIL_BYTES), TABLE.sectors + 2048)
    assert reading.table is not None
    assert reading.table.extents == TABLE.extents
    assert [line.split(":")[0] for line in reading.damage] == ["primary header", "backup header"]


def test_disk_without_protective_mbr_is_told() -> None:
    encoded = gpt.encode(TABLE)
    blank = bytes(SECTOR_BYTES) + encoded.head[SECTOR_BYTES:]
    uncovered = encoded.head[:450] + b"\xa5" + encoded.head[451:]
    for head in (blank, uncovered):
        (damage,) = _parse(gpt.Encoded(head, encoded.tail)).damage
        assert damage.startswith("protective MBR")


@pytest.mark.parametrize("field", ["first", "last"])
def test_whole_checksums_do_not_excuse_overlaps(field: str) -> None:
    slot_a, slot_b = TABLE.find("slotA"), TABLE.find("slotB")
    value = slot_a.last if field == "first" else TABLE.last_usable + 1
    wrong = replace(slot_b, first=value) if field == "first" else replace(slot_b, last=value)
    extents = tuple(wrong if part.name == "slotB" else part for part in TABLE.extents)
    reading = _parse(gpt.encode(replace(TABLE, extents=extents)))
    assert reading.table is None
    assert all("overlaps or lies outside" in line for line in reading.damage)


def test_marks_are_the_bits_that_gptboot_reads() -> None:
    marked = TABLE.marked("slotA", BOOTME | BOOTONCE | BOOTFAILED)
    entry = gpt.encode(marked).head[1024 + 2 * 128 :][:128]
    assert entry[48:56] == (0x0E << 56).to_bytes(8, "little")


def test_boot_code_is_cut_out_of_a_boot_sector() -> None:
    code = bytes(range(1, 224)) * 2
    assert gpt.boot_code(code + bytes(64) + b"\x55\xaa") == code


@pytest.mark.parametrize("wrong", [b"", bytes(512), bytes(510) + b"\x55\xaa" + bytes(512)])
def test_other_files_are_no_boot_code(wrong: bytes) -> None:
    with pytest.raises(UsageError, match="no boot sector"):
        gpt.boot_code(wrong)


def test_boot_code_that_would_reach_into_the_table_is_refused() -> None:
    with pytest.raises(UsageError, match="447 bytes"):
        gpt.encode(TABLE, bytes(447))


def test_pieces_of_other_lengths_are_a_mistake_of_the_caller() -> None:
    encoded = gpt.encode(TABLE)
    with pytest.raises(ValueError, match="want"):
        gpt.parse(encoded.head[:-1], encoded.tail, TABLE.sectors)
