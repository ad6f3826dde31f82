"""Where the writable part of a jail lies: in a folder, or in a dataset where there is a pool.

Nobody chooses: a jail whose folder lies in a ZFS has a dataset, every other one a folder. One that
had a folder before its place became a ZFS keeps it. What a dataset is made of, and how it comes
back from a snapshot, is in ``jails.freebsd.datasets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jails.freebsd import mount, zfs
from jails.freebsd.datasets import Datasets, holder_of
from jails.snapshots import FOLDER, Snapshots

if TYPE_CHECKING:
    from pathlib import Path

    from jails.freebsd.place import Place
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner


class Storage(Protocol):
    """The writable part of one jail, and its snapshots; who calls holds the jail.

    All but ``make`` and ``labels`` need a jail that does not run, after ``make``. Errors are
    ``JailError``, ``CommandFailed`` and ``OSError``.
    """

    def make(self) -> None:
        """See to it that the writable part is there; finishes what a crash left half done."""
        ...

    def labels(self) -> list[str]:
        """The snapshots that there are, in the order of their labels."""
        ...

    def take(self, label: str) -> None:
        """Keep the writable part as it is, under a label that is free."""
        ...

    def restore(self, label: str) -> None:
        """Make the writable part what it was; every snapshot stays, newer ones too."""
        ...

    def export(self, archive: Path) -> None:
        """Write the writable part to a file."""
        ...

    def import_archive(self, archive: Path) -> None:
        """Make the writable part what an exported file holds."""
        ...

    def destroy(self) -> None:
        """Delete what is not a plain file or folder of the jail's own folder."""
        ...


class Folders(Snapshots):
    """The writable part as a folder; snapshots are copies of it (``jails.snapshots``)."""

    def make(self) -> None:
        """See ``Storage.make``."""
        self._directory.make_data()

    def destroy(self) -> None:
        """See ``Storage.destroy``: there is nothing but files and folders."""


class Storages:
    """Finds the storage of each jail, by looking."""

    def __init__(self, runner: CommandRunner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock

    def of(self, place: Place) -> Storage:
        """The storage of that jail, as its place is now; raises ``CommandFailed``.

        zfs(8) is asked only where a ZFS is mounted: it would load its kernel module otherwise.
        """
        mounts = mount.parse_mounts(self._runner.run(*mount.list_argv()))
        pool = zfs.dataset_under(place.path, mounts)
        if pool is None:
            return Folders(place.directory)
        datasets = Datasets(place, holder_of(place, pool), self._runner, self._clock)
        has_folder = not datasets.exist() and _has_content(place)
        return Folders(place.directory) if has_folder else datasets


def _has_content(place: Place) -> bool:
    data = place.directory.data
    is_used = data.is_dir() and any(data.iterdir())
    return is_used or place.directory.restored.is_dir() or (place.path / FOLDER).is_dir()
