"""The writable part of one jail as a dataset, and its snapshots, in a ZFS.

    <pool>/macula-<jail>          holds the others; never mounted; marked with the jail's folder
    <pool>/macula-<jail>/<n>      a generation of the writable part; the highest number counts
    <pool>/macula-<jail>/<n>@macula-<label>   a snapshot, taken while generation n counted
    <pool>/macula-<jail>/new      a generation that is being filled from an archive

To restore is to clone the snapshot as the next generation. zfs(8) could roll back instead, but
only to the newest snapshot unless it destroys the newer ones, which must stay; and copying files
out of the snapshot could break off in the middle. A clone is there at once, as a whole, or not.
The generation before stays as long as a snapshot of it does. No generation is mounted at boot:
``make`` mounts the one that counts.

When the folder of a jail gets another name, what it holds follows: one ``zfs rename`` of the holder
with all below it, then the mount points, then the mark. Until then it is the former jail's by its
mark, and only ``take_over``, which knows that jail, touches it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jails.freebsd import zfs
from jails.freebsd.place import KERNEL_PREFIX
from jails.runtime import JailError, is_jail_name
from jails.snapshots import refuse_label, unpack, write_archive
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from pathlib import Path

    from jails.freebsd.place import Place
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

_UNFINISHED = "new"
_LOOK_AGAIN_S = 0.1
# What is busy is asked for that often, then by force where that is possible.
_PATIENT_TRIES = 10
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Generations:
    """What there is of one jail, by number of its generation."""

    # Whether each is mounted.
    mounted: dict[int, bool]
    # Names of all snapshots, ours or not.
    snapshots: tuple[tuple[int, str], ...]
    has_unfinished: bool = False
    is_unfinished_mounted: bool = False

    @property
    def current(self) -> int:
        """The one that counts; 0: there is none."""
        return max(self.mounted, default=0)

    def labels(self) -> dict[str, int]:
        """Which generation each label is a snapshot of; other snapshots are somebody else's."""
        ours = {
            name.removeprefix(KERNEL_PREFIX): number
            for number, name in self.snapshots
            if name.startswith(KERNEL_PREFIX)
        }
        return {label: number for label, number in ours.items() if is_jail_name(label)}

    def outlived(self) -> list[int]:
        """Those that neither count nor hold a snapshot."""
        held = {number for number, _ in self.snapshots}
        return [each for each in sorted(self.mounted) if each != self.current and each not in held]


def holder_of(place: Place, pool: str) -> str:
    """The dataset that holds those of a jail; ``pool`` is the one that its folder lies in."""
    return f"{pool}/{place.kernel_name}"


class Datasets:
    """A ``Storage`` of datasets below ``holder``."""

    def __init__(self, place: Place, holder: str, runner: CommandRunner, clock: Clock) -> None:
        self._place = place
        self.holder = holder
        self._run = runner.run
        self._clock = clock
        self._data = place.directory.data
        self._filled = place.path / "data.import"

    def exist(self) -> bool:
        """Whether there is anything of it; raises ``JailError`` if it is somebody else's."""
        return bool(self._listed())

    def make(self) -> None:
        """See ``Storage.make``: the generation that counts is mounted, and nothing in its place."""
        if not self._listed():
            self._run(*zfs.create_holder_argv(self.holder, str(self._place.path)))
        if not self._look().current:
            self._run(*zfs.create_argv(self._name(1), **self._properties(self._data)))
        found = self._look()
        for number, is_mounted in found.mounted.items():
            if is_mounted and number != found.current:
                self._unmount(self._name(number))
        if not found.mounted[found.current]:
            self._run(*zfs.mount_argv(self._name(found.current)))
            # A dataset is born open to all.
            self._data.chmod(0o700)
        for number in found.outlived():
            self._destroy(self._name(number))

    def labels(self) -> list[str]:
        """See ``Storage.labels``."""
        return sorted(self._look().labels())

    def take(self, label: str) -> None:
        """See ``Storage.take``."""
        found = self._look()
        refuse_label(self._place.name, label, found.labels())
        self._run(*zfs.snapshot_argv(self._name(found.current), _kept(label)))

    def restore(self, label: str) -> None:
        """See ``Storage.restore``: from the clone on, it has happened."""
        found = self._look()
        number = found.labels().get(label)
        if number is None:
            what = f"there is no snapshot {label!r}"
            raise JailError(self._place.name, what, "take one first")
        snapshot = f"{self._name(number)}@{_kept(label)}"
        following = self._name(found.current + 1)
        self._run(*zfs.clone_argv(snapshot, following, **self._properties(self._data)))
        self.make()

    def export(self, archive: Path) -> None:
        """See ``Storage.export``."""
        write_archive(self._data, archive)

    def import_archive(self, archive: Path) -> None:
        """See ``Storage.import_archive``: from the renaming on, it has happened."""
        self._discard_unfinished()
        filled = f"{self.holder}/{_UNFINISHED}"
        self._run(*zfs.create_argv(filled, **self._properties(self._filled)))
        self._run(*zfs.mount_argv(filled))
        try:
            unpack(self._place.name, archive, self._filled)
            self._filled.chmod(0o700)
        except (JailError, OSError):
            self._discard_unfinished()
            raise
        self._unmount(filled)
        self._run(*zfs.set_argv(filled, mountpoint=str(self._data)))
        self._run(*zfs.rename_argv(filled, self._name(self._look().current + 1)))
        self._drop_mount_point()
        self.make()

    def destroy(self) -> None:
        """See ``Storage.destroy``: the newest first, since each is a clone of an older one."""
        if not self._listed():
            return
        self._discard_unfinished()
        for number, is_mounted in sorted(self._look().mounted.items(), reverse=True):
            if is_mounted:
                self._unmount(self._name(number))
            self._destroy(self._name(number))
        left = [each.name for each in self._listed() if not each.is_snapshot]
        if left != [self.holder]:
            raise JailError(self._place.name, f"{left[-1]} is not ours", "move it elsewhere")
        self._destroy(self.holder)

    def release(self) -> bool:
        """See ``Storage.release``."""
        if not self._listed():
            return False
        self._discard_unfinished()
        for number, is_mounted in self._look().mounted.items():
            if is_mounted:
                self._unmount(self._name(number))
        return True

    def take_over(self, former: Datasets) -> None:
        """Make ours what was ``former``'s; the mark changes last, so any step can be the last.

        Somebody else's dataset under our names is left alone; ``make`` refuses it.
        """
        if not self._present() and former.release():
            self._run(*zfs.rename_argv(former.holder, self.holder))
        on_its_way = [each for each in self._present() if former.marks(each)]
        for each in on_its_way:
            if each.name.removeprefix(f"{self.holder}/").isdecimal():
                self._run(*zfs.set_argv(each.name, mountpoint=str(self._data)))
        if on_its_way:
            self._run(*zfs.set_argv(self.holder, **{zfs.PLACE: str(self._place.path)}))

    def marks(self, dataset: zfs.Dataset) -> bool:
        """Whether that is a file system with the mark of this jail."""
        return not dataset.is_snapshot and dataset.place == str(self._place.path)

    def _discard_unfinished(self) -> None:
        found = self._look()
        filled = f"{self.holder}/{_UNFINISHED}"
        if found.is_unfinished_mounted:
            self._unmount(filled)
        if found.has_unfinished:
            self._destroy(filled)
        self._drop_mount_point()

    def _drop_mount_point(self) -> None:
        if self._filled.exists():
            shutil.rmtree(self._filled)

    def _name(self, number: int) -> str:
        return f"{self.holder}/{number}"

    def _properties(self, path: Path) -> dict[str, str]:
        return {"canmount": "noauto", "mountpoint": str(path)}

    def _look(self) -> Generations:
        below = {each.name[len(self.holder) + 1 :]: each for each in self._listed()}
        snapshots = [name.partition("@") for name in below if "@" in name]
        unfinished = below.get(_UNFINISHED)
        return Generations(
            mounted={int(n): each.is_mounted for n, each in below.items() if n.isdecimal()},
            snapshots=tuple((int(n), label) for n, _, label in snapshots if n.isdecimal()),
            has_unfinished=unfinished is not None,
            is_unfinished_mounted=unfinished is not None and unfinished.is_mounted,
        )

    def _listed(self) -> tuple[zfs.Dataset, ...]:
        """All that there is; raises ``JailError`` if it is somebody else's."""
        listed = self._present()
        if not all(each.is_snapshot or self.marks(each) for each in listed):
            what = f"there is a dataset {self.holder} that is not ours"
            raise JailError(self._place.name, what, "rename it, or take another name")
        return listed

    def _present(self) -> tuple[zfs.Dataset, ...]:
        """All that there is under these names, whosever it is."""
        try:
            return zfs.parse_datasets(self._run(*zfs.list_argv(self.holder)))
        except CommandFailed as failed:
            if zfs.is_missing(failed.stderr):
                return ()
            raise

    def _unmount(self, dataset: str) -> None:
        for attempt in range(_TRIES):
            argv = zfs.unmount_argv(dataset, by_force=attempt >= _PATIENT_TRIES)
            if self._is_done(argv):
                return
        raise JailError(self._place.name, f"{dataset} cannot be unmounted", "see: fstat")

    def _destroy(self, dataset: str) -> None:
        for _ in range(_TRIES):
            if self._is_done(zfs.destroy_argv(dataset, with_snapshots=True)):
                return
        what = f"the dataset {dataset} cannot be destroyed: it is busy"
        raise JailError(self._place.name, what, f"see: zfs holds -r {self.holder}")

    def _is_done(self, argv: tuple[str, ...]) -> bool:
        """Whether the command was carried out; False, after a while: something is busy."""
        try:
            self._run(*argv)
        except CommandFailed as failed:
            if not zfs.is_busy(failed.stderr):
                raise
            self._clock.sleep(_LOOK_AGAIN_S)
            return False
        return True


def _kept(label: str) -> str:
    """The name of a snapshot, apart from those that somebody else takes of the whole pool."""
    return f"{KERNEL_PREFIX}{label}"
