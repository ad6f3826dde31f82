"""From entries to the file system of one slot: merged, pruned, checked, and written as UFS2.

UFS2 is written here, byte by byte, and not by Debian's ``makefs``: that one puts the superblock
of UFS2 at byte 8192 and drops file flags. FreeBSD 13.1 reads it there; the kernels and loaders of
14 and 15 refuse a UFS2 whose superblock is not at 65536 (``validate_sblock`` in
``sys/ufs/ffs/ffs_subr.c``). More in ``docs/decisions/0008-ufs2-written-here.md``.
"""
