"""Layouts: whatever the size, FreeBSD would mount it, and nothing lies over anything else."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagebuilder.filesystem import geometry
from imagebuilder.filesystem.allocation import Allocator, SlotFull
from imagebuilder.filesystem.geometry import Geometry, plan_geometry
from imagebuilder.filesystem.mountable import superblock_problems
from imagebuilder.filesystem.superblock import encode_superblock, read_superblock, summarise, total
from maculaos.errors import UsageError

MIB = 1 << 20
SIZES = st.integers(1 * MIB, 3000 * MIB)
INODES = st.integers(1, 30_000)


def planned(size: int, inodes: int, group_max: int = 32768) -> Geometry | None:
    try:
        return plan_geometry(size, inodes, group_max)
    except UsageError:
        return None


@given(SIZES, INODES, st.sampled_from([512, 4096, 32768]))
def test_every_layout_keeps_the_rules_of_freebsd(size: int, inodes: int, group_max: int) -> None:
    plan = planned(size, inodes, group_max)
    if plan is None:
        return
    states = Allocator(plan).groups
    free = total([summarise(plan, state)[0] for state in states])
    assert superblock_problems(encode_superblock(plan, free, 1)) == []
    assert plan.inodes >= inodes + geometry.FIRST_INODE
    assert plan.fragments * geometry.FRAGMENT_BYTES <= size
    assert plan.fragments * geometry.FRAGMENT_BYTES > size - geometry.BLOCK_BYTES


@given(st.integers(1 * MIB, 40 * MIB), st.integers(1, 3000))
def test_tables_and_data_never_overlap(size: int, inodes: int) -> None:
    plan = planned(size, inodes, 512)
    if plan is None:
        return
    owners = bytearray(plan.fragments)
    for group in range(plan.groups):
        base = plan.base(group)
        tables = range(base + geometry.COPY_AT, base + plan.data_at)
        ranges = [range(*pair) for pair in plan.data_ranges(group)]
        for fragment in [*tables, *(each for pair in ranges for each in pair)]:
            assert owners[fragment] == 0
            owners[fragment] = 1
    # Only boot code, the superblock and the summaries are neither.
    free = {index for index, owner in enumerate(owners) if not owner}
    boot = set(range(geometry.COPY_AT))
    assert free == boot | set(range(plan.data_at, plan.data_at + plan.summary_fragments))


def test_a_slot_of_400_mib_has_several_groups() -> None:
    assert plan_geometry(400 * MIB, 20_000).groups == 4


@pytest.mark.parametrize(
    ("size", "inodes"), [(0, 1), (-1, 1), (1 << 40, 1), (190_000, 5), (4 * MIB, 30_000)]
)
def test_what_cannot_be_laid_out_is_refused(size: int, inodes: int) -> None:
    with pytest.raises(UsageError):
        plan_geometry(size, inodes)


@given(st.lists(st.integers(1, 8), max_size=400), st.integers(1, 4))
def test_no_fragment_is_given_twice_and_the_bitmaps_know(tails: list[int], groups: int) -> None:
    plan = plan_geometry(groups * 2 * MIB, 100, 512)
    allocator = Allocator(plan)
    before = [bytes(state.free_fragments) for state in allocator.groups]
    taken: set[int] = set()
    try:
        for length in tails:
            start = allocator.tail(length)
            # Within one block.
            assert start // 8 == (start + length - 1) // 8
            for fragment in range(start, start + length):
                group, index = divmod(fragment, plan.group_fragments)
                assert fragment not in taken
                assert before[group][index // 8] >> (index % 8) & 1
                assert not allocator.groups[group].free_fragments[index // 8] >> (index % 8) & 1
                taken.add(fragment)
    except SlotFull:
        assert allocator.used_fragments == len(taken)
    free = sum(bits.bit_count() for state in before for bits in state)
    now = sum(bits.bit_count() for state in allocator.groups for bits in state.free_fragments)
    assert free - now == len(taken) == allocator.used_fragments


def test_inodes_0_and_1_are_never_free() -> None:
    plan = plan_geometry(8 * MIB, 100, 512)
    groups = Allocator(plan).groups
    assert [state.used_inodes[0] for state in groups] == [0b11, 0, 0, 0]
    free = total([summarise(plan, state)[0] for state in groups])
    assert (free.free_inodes, free.folders) == (plan.inodes - 2, 0)


def test_tails_share_blocks() -> None:
    allocator = Allocator(plan_geometry(4 * MIB, 100))
    first = allocator.tail(3)
    assert allocator.block() == first + 8
    assert allocator.tail(5) == first + 3


def _good() -> bytes:
    plan = plan_geometry(401 * MIB + 32768, 20_000)
    summaries = [summarise(plan, state)[0] for state in Allocator(plan).groups]
    return encode_superblock(plan, total(summaries), 1)


GOOD = _good()


def test_a_good_superblock_has_no_problem_and_says_what_it_is() -> None:
    assert superblock_problems(GOOD) == []
    fields = read_superblock(GOOD)
    assert (fields["fs_sblockloc"], fields["fs_clean"], fields["fs_metackhash"]) == (65536, 1, 0)


@pytest.mark.parametrize(
    ("offset", "rule"),
    [
        (992, "fs_sblockactualloc"),
        (1000, "fs_sblockloc"),
        (8, "fs_sblkno"),
        (12, "fs_cblkno"),
        (16, "fs_iblkno"),
        (20, "fs_dblkno"),
        (44, "fs_size is off"),
        (48, "fs_bsize"),
        (52, "fs_fsize"),
        (56, "fs_frag"),
        (72, "fs_bmask"),
        (100, "fs_fsbtodb"),
        (104, "fs_sbsize"),
        (116, "fs_nindir"),
        (160, "fs_cgsize"),
        (156, "fs_cssize"),
        (184, "fs_ipg"),
        (1096, "fs_csaddr"),
        (1316, "fs_contigsumsize"),
        (1320, "fs_maxsymlinklen"),
        (1328, "fs_maxfilesize"),
        (1372, "fs_magic"),
    ],
)
def test_a_superblock_with_one_wrong_number_is_refused(offset: int, rule: str) -> None:
    wrong = bytearray(GOOD)
    if rule == "fs_csaddr":
        struct.pack_into("<q", wrong, offset, 0)
    else:
        wrong[offset] ^= 1
    assert any(rule in problem for problem in superblock_problems(bytes(wrong)))


@pytest.mark.parametrize(
    ("offset", "form", "number", "rule"),
    [
        (860, "<i", 3 * 32768, "fs_maxbsize is no power of two"),
        (880, "<q", 1 << 20, "fs_metaspace is out of bounds"),
        (88, "<i", 257, "fs_maxcontig is out of bounds"),
        (88, "<i", -1, "fs_maxcontig is out of bounds"),
        (184, "<I", 1 << 31, "too many inodes"),
        (60, "<i", 100, "fs_minfree is no percentage"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(
    offset: int, form: str, number: int, rule: str
) -> None:
    wrong = bytearray(GOOD)
    struct.pack_into(form, wrong, offset, number)
    assert any(rule in problem for problem in superblock_problems(bytes(wrong)))


def test_summaries_behind_the_end_are_refused() -> None:
    wrong = bytearray(GOOD)
    fields = read_superblock(GOOD)
    # The last group is shorter than the others: within its length, and still outside.
    assert fields["fs_size"] % fields["fs_fpg"] != 0
    struct.pack_into("<q", wrong, 1096, fields["fs_size"])
    assert "the summaries end behind fs_size" in superblock_problems(bytes(wrong))


def test_debians_makefs_would_be_refused() -> None:
    # Where that tool puts the superblock of UFS2.
    wrong = bytearray(GOOD)
    wrong[1000:1008] = (8192).to_bytes(8, "little")
    assert superblock_problems(bytes(wrong)) == ["fs_sblockloc is not 65536"]
