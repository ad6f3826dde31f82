"""Whether FreeBSD would mount a UFS2 file system, by its superblock alone.

These are the rules that the kernels and loaders of FreeBSD 14 and 15 ask of a superblock before
they touch anything else (``validate_sblock`` in ``sys/ufs/ffs/ffs_subr.c``). A file system that
breaks one of them neither boots nor mounts. Files and folders are not looked at.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from imagebuilder.filesystem import geometry as layout
from imagebuilder.filesystem.superblock import (
    STRUCT_BYTES,
    SYMLINK_INLINE_MAX,
    UFS2_MAGIC,
    largest_file,
    read_superblock,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def superblock_problems(block: bytes) -> list[str]:
    """The rules of FreeBSD 14 and 15 that this superblock breaks; none means that it mounts."""
    fs = read_superblock(block)
    if fs["fs_magic"] != UFS2_MAGIC:
        return [f"fs_magic is {fs['fs_magic']:#x}, and not that of UFS2"]
    shape = [text for kept, text in _shape_rules(fs) if not kept]
    # The rules of place divide by what the rules of shape have checked.
    rest = itertools.chain(_place_rules(fs), _count_rules(fs))
    return shape or [text for kept, text in rest if not kept]


def _shape_rules(fs: dict[str, int]) -> Iterator[tuple[bool, str]]:
    block, fragment = fs["fs_bsize"], fs["fs_fsize"]
    yield fs["fs_sblockloc"] == layout.SUPERBLOCK_AT, "fs_sblockloc is not 65536"
    yield fs["fs_sblockactualloc"] in (0, layout.SUPERBLOCK_AT), "fs_sblockactualloc is not 65536"
    yield block in (4096, 8192, 16384, 32768, 65536), "fs_bsize is no block size"
    yield fragment >= 512 and fragment.bit_count() == 1, "fs_fsize is no fragment size"
    yield fragment * fs["fs_frag"] == block, "fs_frag does not fit fs_bsize and fs_fsize"
    yield 1 <= fs["fs_frag"] <= 8, "fs_frag is not 1 to 8"
    yield fs["fs_maxsymlinklen"] == SYMLINK_INLINE_MAX, "fs_maxsymlinklen is not 120"
    yield fs["fs_nindir"] == block // 8, "fs_nindir does not fit fs_bsize"
    yield fs["fs_inopb"] == block // layout.INODE_BYTES, "fs_inopb does not fit fs_bsize"
    yield fs["fs_bmask"] == -block, "fs_bmask does not fit fs_bsize"
    yield fs["fs_fmask"] == -fragment, "fs_fmask does not fit fs_fsize"
    yield fs["fs_qbmask"] == block - 1, "fs_qbmask does not fit fs_bsize"
    yield fs["fs_qfmask"] == fragment - 1, "fs_qfmask does not fit fs_fsize"
    yield 1 << fs["fs_bshift"] == block, "fs_bshift does not fit fs_bsize"
    yield 1 << fs["fs_fshift"] == fragment, "fs_fshift does not fit fs_fsize"
    yield 1 << fs["fs_fragshift"] == fs["fs_frag"], "fs_fragshift does not fit fs_frag"
    yield 512 << fs["fs_fsbtodb"] == fragment, "fs_fsbtodb does not fit fs_fsize"
    yield STRUCT_BYTES <= fs["fs_sbsize"] <= layout.SUPERBLOCK_BYTES, "fs_sbsize is out of bounds"
    yield block <= fs["fs_maxbsize"] <= 16 * block, "fs_maxbsize is out of bounds"
    yield fs["fs_maxbsize"].bit_count() == 1, "fs_maxbsize is no power of two"
    yield fs["fs_ncg"] >= 1, "fs_ncg is 0"
    yield fs["fs_fpg"] >= 3 * fs["fs_frag"], "fs_fpg is too small"
    yield fs["fs_ipg"] >= fs["fs_inopb"] > 0, "fs_ipg is below fs_inopb"


def _place_rules(fs: dict[str, int]) -> Iterator[tuple[bool, str]]:
    def blocks(size: int) -> int:
        fragments = -(-size // fs["fs_fsize"])
        return -(-fragments // fs["fs_frag"]) * fs["fs_frag"]

    copy_at = blocks(fs["fs_sblockloc"] + layout.SUPERBLOCK_BYTES)
    bitmaps = -(-fs["fs_ipg"] // 8) + -(-fs["fs_fpg"] // 8)
    header = layout.GROUP_HEADER_BYTES + 4 + bitmaps
    yield fs["fs_sbsize"] % 512 == 0, "fs_sbsize is not in sectors"
    yield fs["fs_ipg"] % fs["fs_inopb"] == 0, "fs_ipg is not in blocks"
    yield fs["fs_sblkno"] == copy_at, "fs_sblkno is not behind the superblock"
    yield fs["fs_cblkno"] == fs["fs_sblkno"] + blocks(layout.SUPERBLOCK_BYTES), "fs_cblkno is off"
    yield fs["fs_iblkno"] == fs["fs_cblkno"] + fs["fs_frag"], "fs_iblkno is off"
    tables = fs["fs_ipg"] // (fs["fs_inopb"] // fs["fs_frag"])
    yield fs["fs_dblkno"] == fs["fs_iblkno"] + tables, "fs_dblkno is off"
    yield header <= fs["fs_bsize"], "a group's header is larger than a block"
    yield fs["fs_fsize"] <= fs["fs_cgsize"] <= fs["fs_bsize"], "fs_cgsize is out of bounds"
    yield fs["fs_cgsize"] % fs["fs_fsize"] == 0, "fs_cgsize is not in fragments"


def _count_rules(fs: dict[str, int]) -> Iterator[tuple[bool, str]]:
    inodes = fs["fs_ipg"] * fs["fs_ncg"]
    yield inodes <= (1 << 32) - fs["fs_inopb"], "fs_ipg and fs_ncg make too many inodes"
    yield 0 <= fs["cs_nifree"] <= inodes, "cs_nifree is out of bounds"
    yield 0 <= fs["cs_ndir"] <= inodes - fs["cs_nifree"], "cs_ndir is out of bounds"
    yield fs["fs_size"] >= 8 * fs["fs_frag"], "fs_size is too small"
    groups = fs["fs_ncg"]
    yield (groups - 1) * fs["fs_fpg"] < fs["fs_size"] <= groups * fs["fs_fpg"], "fs_size is off"
    summary = -(-groups * layout.SUMMARY_BYTES // fs["fs_fsize"])
    yield fs["fs_cssize"] == summary * fs["fs_fsize"], "fs_cssize does not fit fs_ncg"
    place = fs["fs_csaddr"] % fs["fs_fpg"]
    yield fs["fs_dblkno"] <= place, "fs_csaddr is not in the data of its group"
    yield place + summary < fs["fs_fpg"], "the summaries leave their group"
    yield fs["fs_csaddr"] + summary <= fs["fs_size"], "the summaries end behind fs_size"
    largest = largest_file(fs["fs_bsize"], fs["fs_nindir"])
    yield fs["fs_maxfilesize"] == largest, "fs_maxfilesize is off"
    yield 0 <= fs["fs_maxcontig"] <= 256, "fs_maxcontig is out of bounds"
    clusters = min(fs["fs_maxcontig"], 16) if fs["fs_maxcontig"] > 1 else 0
    yield fs["fs_contigsumsize"] == clusters, "fs_contigsumsize does not fit fs_maxcontig"
    yield 0 <= fs["fs_metaspace"] <= fs["fs_fpg"] // 2, "fs_metaspace is out of bounds"
    yield 0 <= fs["fs_minfree"] <= 99, "fs_minfree is no percentage"
