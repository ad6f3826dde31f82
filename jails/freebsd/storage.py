"""Where the writable part of a jail lies: in a folder, or in a dataset where there is a pool.

Nobody chooses: a jail whose folder lies in a ZFS has a dataset, every other one a folder. One that
had a folder before its place became a ZFS keeps it. When a folder was given another name, its
dataset follows (``settle``). What a dataset is made of, and how it comes back from a snapshot, is
in ``jails.freebsd.datasets``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from jails.freebsd import mount, zfs
from jails.freebsd.datasets import Datasets, holder_of
from jails.runtime import JailError
from jails.snapshots import Snapshots

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

    def release(self) -> bool:
        """Let the jail's folder go elsewhere; True: something lies outside of it, and follows."""
        ...

    def destroy(self) -> None:
        """Delete what is not a plain file or folder of the jail's own folder."""
        ...


class Folders(Snapshots):
    """The writable part as a folder; snapshots are copies of it (``jails.snapshots``)."""

    def make(self) -> None:
        """See ``Storage.make``."""
        self._directory.make_data()

    def release(self) -> bool:
        """See ``Storage.release``: all of it goes with the folder."""
        self.make()
        return False

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
        datasets = self._datasets(place)
        if datasets is None:
            return Folders(place.directory)
        has_folder = not datasets.exist() and _has_content(place)
        return Folders(place.directory) if has_folder else datasets

    def has_outside(self, place: Place) -> bool:
        """Whether anything of the jail lies outside of its folder; raises as ``of`` does."""
        datasets = self._datasets(place)
        return datasets is not None and datasets.exist()

    def settle(self, place: Place) -> None:
        """Let the dataset follow a folder that has moved; who calls holds the jail."""
        former = place.moved_from()
        if not former:
            return
        ours, theirs = (self._datasets(each) for each in (place, place.beside(former)))
        if ours is None or theirs is None:
            what = f"its data lies in the ZFS of {place.path}, which is not mounted"
            raise JailError(place.name, what, "mount it first")
        ours.take_over(theirs)
        ours.make()
        place.forget_move()

    def _datasets(self, place: Place) -> Datasets | None:
        """Where the place lies in no ZFS: None."""
        mounts = mount.parse_mounts(self._runner.run(*mount.list_argv()))
        pool = zfs.dataset_under(place.path, mounts)
        if pool is None:
            return None
        return Datasets(place, holder_of(place, pool), self._runner, self._clock)


def _has_content(place: Place) -> bool:
    data = place.directory.data
    is_used = data.is_dir() and any(data.iterdir())
    directory = place.directory
    return is_used or directory.restored.is_dir() or directory.snapshots.is_dir()
