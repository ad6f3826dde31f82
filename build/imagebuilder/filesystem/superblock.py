"""The superblock, the group headers and the summaries of UFS2, as bytes.

Pure: what is used comes in, bytes go out. Offsets are those of ``struct fs``, ``struct cg`` and
``struct csum`` in FreeBSD's ``sys/ufs/ffs/fs.h``, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from imagebuilder.filesystem import geometry as layout

if TYPE_CHECKING:
    from imagebuilder.filesystem.geometry import Geometry

STRUCT_BYTES: Final = 1376
UFS2_MAGIC: Final = 0x19540119
GROUP_MAGIC: Final = 0x00090255
POINTERS_PER_BLOCK: Final = layout.BLOCK_BYTES // 8
DIRECT_BLOCKS: Final = 12
INDIRECT_LEVELS: Final = 3
SYMLINK_INLINE_MAX: Final = (DIRECT_BLOCKS + INDIRECT_LEVELS) * 8
_FLAGS_UPDATED: Final = -128  # FS_FLAGS_UPDATED (0x80): the flags are in fs_flags.

# Field -> offset and format; arrays are left out, the fields of ``fs_cstotal`` spelled out.
_FIELDS: Final[dict[str, tuple[int, str]]] = {
    "fs_sblkno": (8, "i"),
    "fs_cblkno": (12, "i"),
    "fs_iblkno": (16, "i"),
    "fs_dblkno": (20, "i"),
    "fs_ncg": (44, "I"),
    "fs_bsize": (48, "i"),
    "fs_fsize": (52, "i"),
    "fs_frag": (56, "i"),
    "fs_minfree": (60, "i"),
    "fs_bmask": (72, "i"),
    "fs_fmask": (76, "i"),
    "fs_bshift": (80, "i"),
    "fs_fshift": (84, "i"),
    "fs_maxcontig": (88, "i"),
    "fs_maxbpg": (92, "i"),
    "fs_fragshift": (96, "i"),
    "fs_fsbtodb": (100, "i"),
    "fs_sbsize": (104, "i"),
    "fs_nindir": (116, "i"),
    "fs_inopb": (120, "I"),
    "fs_optim": (128, "i"),
    "fs_cssize": (156, "i"),
    "fs_cgsize": (160, "i"),
    "fs_ipg": (184, "I"),
    "fs_fpg": (188, "i"),
    "fs_clean": (209, "b"),
    "fs_old_flags": (211, "b"),
    "fs_maxbsize": (860, "i"),
    "fs_providersize": (872, "q"),
    "fs_metaspace": (880, "q"),
    "fs_sblockactualloc": (992, "q"),
    "fs_sblockloc": (1000, "q"),
    "cs_ndir": (1008, "q"),
    "cs_nbfree": (1016, "q"),
    "cs_nifree": (1024, "q"),
    "cs_nffree": (1032, "q"),
    "fs_time": (1072, "q"),
    "fs_size": (1080, "q"),
    "fs_dsize": (1088, "q"),
    "fs_csaddr": (1096, "q"),
    "fs_avgfilesize": (1196, "I"),
    "fs_avgfpdir": (1200, "I"),
    "fs_mtime": (1208, "q"),
    "fs_metackhash": (1308, "I"),
    "fs_flags": (1312, "i"),
    "fs_contigsumsize": (1316, "i"),
    "fs_maxsymlinklen": (1320, "i"),
    "fs_old_inodefmt": (1324, "i"),
    "fs_maxfilesize": (1328, "Q"),
    "fs_qbmask": (1336, "q"),
    "fs_qfmask": (1344, "q"),
    "fs_magic": (1372, "i"),
}


@dataclass(slots=True)
class GroupState:
    """What is used in one cylinder group: the two bitmaps, bit set = inode used, fragment free."""

    folders: int = 0
    used_inodes: bytearray = field(default_factory=bytearray)
    free_fragments: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Summary:
    """Free space of one group, or of all (``struct csum``)."""

    folders: int
    free_blocks: int
    free_inodes: int
    free_fragments: int

    def encode(self) -> bytes:
        """As it lies in a group's header and among the summaries."""
        return struct.pack(
            "<4i", self.folders, self.free_blocks, self.free_inodes, self.free_fragments
        )


def summarise(plan: Geometry, state: GroupState) -> tuple[Summary, list[int]]:
    """Free space of a group, and how many runs of 1 to 7 free fragments its blocks hold.

    A byte of the bitmap is one block, since a block has eight fragments. Fragments of blocks
    that are free as a whole count as a block and not as fragments.
    """
    whole = state.free_fragments.count(0xFF)
    partial = [byte for byte in state.free_fragments if byte not in (0x00, 0xFF)]
    runs = [0] * 8
    for byte in partial:
        for run in f"{byte:08b}".split("0"):
            runs[len(run)] += bool(run)
    used = sum(byte.bit_count() for byte in state.used_inodes)
    fragments = sum(byte.bit_count() for byte in partial)
    return Summary(state.folders, whole, plan.group_inodes - used, fragments), runs


def total(summaries: list[Summary]) -> Summary:
    """The sum over all groups."""
    return Summary(
        sum(each.folders for each in summaries),
        sum(each.free_blocks for each in summaries),
        sum(each.free_inodes for each in summaries),
        sum(each.free_fragments for each in summaries),
    )


def encode_group(plan: Geometry, group: int, state: GroupState, time_s: int) -> bytes:
    """The header of one cylinder group (``struct cg``) with its bitmaps."""
    summary, runs = summarise(plan, state)
    used_at = layout.GROUP_HEADER_BYTES
    free_at = used_at + len(state.used_inodes)
    header = bytearray(plan.group_header_bytes)
    struct.pack_into("<iIii", header, 0, 0, GROUP_MAGIC, 0, group)
    struct.pack_into("<i", header, 20, plan.end(group) - plan.base(group))  # cg_ndblk
    header[24:40] = summary.encode()
    struct.pack_into("<8i", header, 52, *runs)  # cg_frsum
    # cg_iusedoff, cg_freeoff, cg_nextfreeoff
    struct.pack_into("<3I", header, 92, used_at, free_at, free_at + len(state.free_fragments))
    # All inodes are on disk, the unused ones as zeros: cg_niblk, cg_initediblk.
    struct.pack_into("<II", header, 116, plan.group_inodes, plan.group_inodes)
    struct.pack_into("<q", header, 136, time_s)  # cg_time
    header[used_at : used_at + len(state.used_inodes)] = state.used_inodes
    header[free_at : free_at + len(state.free_fragments)] = state.free_fragments
    return bytes(header)


def encode_superblock(plan: Geometry, free: Summary, time_s: int) -> bytes:
    """The superblock; its copies in the groups are the same bytes.

    ``fs_id`` stays zero on purpose: two slots hold the same bytes, and equal identifiers would
    make two equal ``/dev/ufsid`` labels. There are no clusters (``fs_contigsumsize`` 0) and no
    check hashes: the file system is only read.
    """
    block = bytearray(layout.SUPERBLOCK_BYTES)
    for name, value in (_constants() | _numbers(plan, free, time_s)).items():
        offset, form = _FIELDS[name]
        struct.pack_into(f"<{form}", block, offset, value)
    return bytes(block)


def _constants() -> dict[str, int]:
    sizes = {
        "fs_sblkno": layout.COPY_AT,
        "fs_cblkno": layout.GROUP_AT,
        "fs_iblkno": layout.INODES_AT,
        "fs_bsize": layout.BLOCK_BYTES,
        "fs_fsize": layout.FRAGMENT_BYTES,
        "fs_frag": layout.FRAGMENTS_PER_BLOCK,
        "fs_bmask": -layout.BLOCK_BYTES,
        "fs_fmask": -layout.FRAGMENT_BYTES,
        "fs_qbmask": layout.BLOCK_BYTES - 1,
        "fs_qfmask": layout.FRAGMENT_BYTES - 1,
        "fs_bshift": layout.BLOCK_BYTES.bit_length() - 1,
        "fs_fshift": layout.FRAGMENT_BYTES.bit_length() - 1,
        "fs_fragshift": layout.FRAGMENTS_PER_BLOCK.bit_length() - 1,
        "fs_fsbtodb": (layout.FRAGMENT_BYTES // 512).bit_length() - 1,
        "fs_sbsize": -(-STRUCT_BYTES // layout.FRAGMENT_BYTES) * layout.FRAGMENT_BYTES,
        "fs_maxbsize": layout.BLOCK_BYTES,
        "fs_nindir": POINTERS_PER_BLOCK,
        "fs_inopb": layout.INODES_PER_BLOCK,
        "fs_sblockloc": layout.SUPERBLOCK_AT,
        "fs_sblockactualloc": layout.SUPERBLOCK_AT,
        "fs_maxsymlinklen": SYMLINK_INLINE_MAX,
        "fs_maxfilesize": largest_file(layout.BLOCK_BYTES, POINTERS_PER_BLOCK),
    }
    habits = {
        "fs_optim": 1,  # Space rather than time.
        "fs_maxcontig": 1,
        "fs_maxbpg": POINTERS_PER_BLOCK,
        "fs_avgfilesize": 16384,
        "fs_avgfpdir": 64,
        "fs_clean": 1,
        "fs_old_flags": _FLAGS_UPDATED,
        "fs_old_inodefmt": 2,
        "fs_magic": UFS2_MAGIC,
    }
    return sizes | habits


def _numbers(plan: Geometry, free: Summary, time_s: int) -> dict[str, int]:
    tables = plan.groups * (plan.data_at - layout.COPY_AT) + plan.summary_fragments
    return {
        "fs_dblkno": plan.data_at,
        "fs_ncg": plan.groups,
        "fs_ipg": plan.group_inodes,
        "fs_fpg": plan.group_fragments,
        "fs_cssize": plan.summary_fragments * layout.FRAGMENT_BYTES,
        "fs_cgsize": plan.group_header_bytes,
        "fs_csaddr": plan.data_at,
        "fs_size": plan.fragments,
        "fs_providersize": plan.fragments,
        "fs_dsize": plan.fragments - layout.COPY_AT - tables,
        "fs_time": time_s,
        "fs_mtime": time_s,
        "cs_ndir": free.folders,
        "cs_nbfree": free.free_blocks,
        "cs_nifree": free.free_inodes,
        "cs_nffree": free.free_fragments,
    }


def largest_file(block: int, pointers: int) -> int:
    """Bytes of the largest file that an inode can address (``fs_maxfilesize``)."""
    reach: int = sum(pointers**level for level in range(1, INDIRECT_LEVELS + 1))
    return block * (DIRECT_BLOCKS + reach) - 1


def read_superblock(block: bytes) -> dict[str, int]:
    """Every field by its name; ``block`` is what lies at byte 65536."""
    return {
        name: struct.unpack_from(f"<{form}", block, offset)[0]
        for name, (offset, form) in _FIELDS.items()
    }
