"""zfs(8): datasets, snapshots and clones; what to ask for and what is there. Pure.

Read in zfs(8) and the source of OpenZFS, not recorded: no machine with a pool could be booted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from jails.freebsd.unreadable import UnreadableAnswer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.freebsd.mount import Mount

# The kind of such a mount; its source is the name of the dataset.
KIND = "zfs"
# A property of ours: the folder of the jail that a dataset is of. User properties need a colon.
PLACE = "macula:place"
_COLUMNS = ("name", "type", "mounted", PLACE)
_FILE_SYSTEM = "filesystem"
_SNAPSHOT = "snapshot"
_NONE = "-"
_MISSING = "dataset does not exist"
_BUSY = ("dataset is busy", "pool or dataset is busy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A file system of a pool, or with ``@`` in its name a snapshot of one."""

    name: str
    is_mounted: bool = False
    # What ``PLACE`` says here or above; empty: nothing.
    place: str = ""

    @property
    def is_snapshot(self) -> bool:
        """Whether it is a snapshot."""
        return "@" in self.name


def dataset_under(path: PurePath, mounts: Iterable[Mount]) -> str | None:
    """The dataset that ``path`` lies in; None if it lies in no ZFS.

    ``mounts`` are in the order of mounting: of two on one path the later one counts.
    """
    over = [each for each in mounts if path.is_relative_to(each.path)]
    if not over:
        return None
    nearest = max(over, key=lambda each: len(PurePath(each.path).parts))
    last = [each for each in over if each.path == nearest.path][-1]
    return last.source if last.kind == KIND else None


def list_argv(dataset: str) -> tuple[str, ...]:
    """A dataset with all below it, snapshots too; those of one dataset in the order of making."""
    kinds = f"{_FILE_SYSTEM},{_SNAPSHOT}"
    return ("zfs", "list", "-Hp", "-r", "-t", kinds, "-o", ",".join(_COLUMNS), dataset)


def create_argv(dataset: str, **properties: str) -> tuple[str, ...]:
    """A new dataset; it is mounted unless a property says no."""
    return ("zfs", "create", *_options(properties), dataset)


def create_holder_argv(dataset: str, place: str) -> tuple[str, ...]:
    """A new dataset that is never mounted and only holds others, marked as of ``place``."""
    marks = ("-o", f"{PLACE}={place}")
    return ("zfs", "create", *_options({"canmount": "off", "mountpoint": "none"}), *marks, dataset)


def snapshot_argv(dataset: str, label: str) -> tuple[str, ...]:
    """Keep a dataset as it is now."""
    return ("zfs", "snapshot", f"{dataset}@{label}")


def clone_argv(snapshot: str, dataset: str, **properties: str) -> tuple[str, ...]:
    """A new dataset that begins as what a snapshot holds."""
    return ("zfs", "clone", *_options(properties), snapshot, dataset)


def set_argv(dataset: str, **properties: str) -> tuple[str, ...]:
    """Change properties of a dataset."""
    return ("zfs", "set", *_pairs(properties), dataset)


def rename_argv(dataset: str, name: str) -> tuple[str, ...]:
    """Another name in the same pool; once this returns, all written before is on disk as well."""
    return ("zfs", "rename", dataset, name)


def mount_argv(dataset: str) -> tuple[str, ...]:
    """Mount a dataset at its mount point, which is made if it is missing."""
    return ("zfs", "mount", dataset)


def unmount_argv(dataset: str, *, by_force: bool = False) -> tuple[str, ...]:
    """Unmount a dataset; by force even if it is in use."""
    return ("zfs", "unmount", *(("-f",) if by_force else ()), dataset)


def destroy_argv(dataset: str, *, with_snapshots: bool = False) -> tuple[str, ...]:
    """Destroy a dataset; refused while a clone of one of its snapshots is there."""
    return ("zfs", "destroy", *(("-r",) if with_snapshots else ()), dataset)


def parse_datasets(text: str) -> tuple[Dataset, ...]:
    """Answer of ``list_argv`` in its order; raises ``UnreadableAnswer``."""
    return tuple(_dataset(line) for line in text.splitlines() if line)


def is_missing(stderr: str) -> bool:
    """Whether zfs(8) refused because there is no such dataset."""
    return stderr.rstrip().endswith(f": {_MISSING}")


def is_busy(stderr: str) -> bool:
    """Whether zfs(8) refused because somebody still uses the dataset."""
    return stderr.rstrip().endswith(tuple(f": {each}" for each in _BUSY))


def _options(properties: dict[str, str]) -> tuple[str, ...]:
    return tuple(word for pair in _pairs(properties) for word in ("-o", pair))


def _pairs(properties: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in properties.items())


def _dataset(line: str) -> Dataset:
    fields = line.split("\t")
    if len(fields) != len(_COLUMNS) or fields[1] not in (_FILE_SYSTEM, _SNAPSHOT):
        raise UnreadableAnswer("zfs", line)
    name, kind, mounted, place = fields
    if ("@" in name) != (kind == _SNAPSHOT):
        raise UnreadableAnswer("zfs", line)
    return Dataset(name=name, is_mounted=mounted == "yes", place="" if place == _NONE else place)
