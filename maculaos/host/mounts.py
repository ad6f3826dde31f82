"""What kind of file system a folder lies on, as the system's list of mounts says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from pathlib import Path

# File systems whose files are in memory, and in swap where there is some.
_IN_MEMORY: Final = ("tmpfs", "ramfs")


def is_in_memory(folder: Path) -> bool:
    """Whether files in ``folder`` are never on a disk but in swap; raises ``OSError``."""
    device = os.stat(folder).st_dev
    return any(
        _is_device(mount.mountpoint, device)
        for mount in psutil.disk_partitions(all=True)
        if mount.fstype in _IN_MEMORY
    )


def _is_device(mountpoint: str, device: int) -> bool:
    try:
        return os.stat(mountpoint).st_dev == device
    except OSError:
        return False
