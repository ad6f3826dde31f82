"""A pool of the model, and zfs(8): file systems, snapshots and clones that hold real files.

Read in zfs(8) and the source of OpenZFS, not recorded. A file system that is mounted really lies at
its mount point, and what was there lies aside meanwhile; unmounted, it lies in the pool's folder.
Without a pool zfs(8) was never taught: on a real machine it would load its kernel module.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jails.freebsd.model.mounts import Mounts

_KIND = "zfs"


@dataclass(slots=True, kw_only=True)
class FileSystem:
    """One file system; ``content`` is where it lies while it is not mounted."""

    name: str
    properties: dict[str, str]
    content: Path
    # The snapshot that it began as.
    origin: str = ""
    is_mounted: bool = False
    # Where what was at the mount point lies meanwhile.
    covered: Path | None = None
    # Copies by label, in the order of making.
    snapshots: dict[str, Path] = field(default_factory=dict)

    @property
    def live(self) -> Path:
        """Where it lies now."""
        return Path(self.properties["mountpoint"]) if self.is_mounted else self.content


class Pool:
    """All file systems by name; empty until ``make``."""

    def __init__(self, mounts: Mounts) -> None:
        self.systems: dict[str, FileSystem] = {}
        # How often a file system is still busy, by its name, whatever is asked.
        self.busy: dict[str, int] = {}
        self._mounts = mounts
        self._folder: Path | None = None
        self._made = 0

    def make(self, name: str, mountpoint: Path, folder: Path) -> None:
        """A pool whose first file system is what lies at ``mountpoint`` already."""
        folder.mkdir()
        self._folder = folder
        properties = {"mountpoint": str(mountpoint)}
        self.systems[name] = FileSystem(
            name=name, properties=properties, content=mountpoint, is_mounted=True
        )
        self._show(self.systems[name])

    def zfs(self, argv: tuple[str, ...]) -> Answer:
        """zfs(8) in the forms that ``jails.freebsd.zfs`` builds."""
        verbs: dict[str, Callable[[tuple[str, ...], dict[str, str], list[str]], Answer]] = {
            "list": self._list,
            "create": self._create,
            "clone": self._clone,
            "snapshot": self._snapshot,
            "set": self._set,
            "rename": self._rename,
            "mount": self._mount,
            "unmount": self._unmount,
            "destroy": self._destroy,
        }
        if self._folder is None or argv[1] not in verbs:
            raise UntaughtCommand(argv)
        properties, words = _options(argv[2:])
        wanted = words[-1].partition("@")[0] if argv[1] == "snapshot" else words[-1]
        if argv[1] in ("create", "clone"):
            refusal = self._refused_name(wanted)
        elif argv[1] == "rename":
            refusal = self._refused_name(wanted) or self._refused_missing(words[0])
        else:
            refusal = self._refused_missing(wanted)
        return refusal or verbs[argv[1]](argv, properties, words)

    def _refused_name(self, name: str) -> Answer | None:
        if name in self.systems:
            return refused(f"cannot create '{name}': dataset already exists")
        if name.rpartition("/")[0] not in self.systems:
            return refused(f"cannot create '{name}': parent does not exist")
        return None

    def _refused_missing(self, name: str) -> Answer | None:
        if name not in self.systems:
            return refused(f"cannot open '{name}': dataset does not exist")
        return None

    def _list(self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]) -> Answer:
        del properties
        if words[:4] != ["-Hp", "-r", "-t", "filesystem,snapshot"]:
            raise UntaughtCommand(argv)
        columns = argv[argv.index("-o") + 1].split(",")
        rows = []
        for each in self._family(words[-1]):
            rows.append(self._row(each, each.name, columns))
            rows += [self._row(each, f"{each.name}@{label}", columns) for label in each.snapshots]
        return Answer("".join(f"{row}\n" for row in rows))

    def _create(
        self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]
    ) -> Answer:
        del argv
        made = self._new(words[-1], properties)
        made.content.mkdir(mode=0o755)
        return self._mount_new(made)

    def _clone(self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]) -> Answer:
        del argv
        name, _, label = words[0].partition("@")
        origin = self.systems.get(name)
        if origin is None or label not in origin.snapshots:
            return refused(f"cannot open '{words[0]}': dataset does not exist")
        made = self._new(words[-1], properties)
        made.origin = words[0]
        shutil.copytree(origin.snapshots[label], made.content, symlinks=True)
        return self._mount_new(made)

    def _snapshot(
        self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]
    ) -> Answer:
        del argv, properties
        name, _, label = words[-1].partition("@")
        system = self.systems[name]
        if label in system.snapshots:
            return refused(f"cannot create snapshot '{words[-1]}': dataset already exists")
        copy = self._next_folder()
        shutil.copytree(system.live, copy, symlinks=True)
        system.snapshots[label] = copy
        return Answer()

    def _set(self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]) -> Answer:
        del properties
        system = self.systems[words[-1]]
        if system.is_mounted:
            raise UntaughtCommand(argv)
        system.properties |= dict(word.split("=", 1) for word in words[:-1])
        return Answer()

    def _rename(
        self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]
    ) -> Answer:
        del properties
        old, new = words
        family = list(self._family(old))
        # FreeBSD would mount them again elsewhere; whoever drives the model must not want that.
        if any(each.is_mounted for each in family):
            raise UntaughtCommand(argv)
        for each in family:
            del self.systems[each.name]
        for each in family:
            each.name = new + each.name.removeprefix(old)
            self.systems[each.name] = each
        for each in self.systems.values():
            if each.origin.startswith((f"{old}@", f"{old}/")):
                each.origin = new + each.origin.removeprefix(old)
        return Answer()

    def _mount(self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]) -> Answer:
        del properties
        system = self.systems[words[-1]]
        if system.is_mounted:
            return refused(f"cannot mount '{system.name}': filesystem already mounted")
        if system.properties.get("canmount") == "off":
            return refused(f"cannot mount '{system.name}': 'canmount' property is set to 'off'")
        path = Path(system.properties["mountpoint"])
        # FreeBSD would put one upon the other; whoever drives the model must not want that.
        if any(each.path == str(path) for each in self._mounts.table):
            raise UntaughtCommand(argv)
        path.mkdir(parents=True, exist_ok=True)
        system.covered = path.rename(self._next_folder())
        system.content.rename(path)
        system.is_mounted = True
        self._show(system)
        return Answer()

    def _unmount(
        self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]
    ) -> Answer:
        del properties
        system = self.systems[words[-1]]
        if not system.is_mounted:
            return refused(f"cannot unmount '{system.name}': not currently mounted")
        if "-f" not in argv and (self._is_told_busy(system.name) or self._is_shown(system)):
            return refused(f"cannot unmount '{system.live}': pool or dataset is busy")
        self._hide(system)
        return Answer()

    def _destroy(
        self, argv: tuple[str, ...], properties: dict[str, str], words: list[str]
    ) -> Answer:
        del properties
        family = list(self._family(words[-1]))
        system = family[0]
        has_more = len(family) > 1 or bool(system.snapshots)
        if has_more and "-r" not in argv:
            return refused(f"cannot destroy '{system.name}': filesystem has children")
        if any(self._clones(each) - {one.name for one in family} for each in family):
            return refused(f"cannot destroy '{system.name}': filesystem has dependent clones")
        if self._is_told_busy(system.name):
            return refused(f"cannot destroy '{system.name}': dataset is busy")
        for each in family:
            if each.is_mounted:
                self._hide(each)
            for folder in (each.content, *each.snapshots.values()):
                shutil.rmtree(folder)
            del self.systems[each.name]
        return Answer()

    def _new(self, name: str, properties: dict[str, str]) -> FileSystem:
        made = FileSystem(name=name, properties=properties, content=self._next_folder())
        self.systems[name] = made
        return made

    def _mount_new(self, made: FileSystem) -> Answer:
        is_left = made.properties.get("canmount") in ("off", "noauto")
        return Answer() if is_left else self._mount((), {}, [made.name])

    def _show(self, system: FileSystem) -> None:
        path = system.properties["mountpoint"]
        shown = Mount(source=system.name, path=path, kind=_KIND, options=("rw",))
        self._mounts.table.append(shown)

    def _hide(self, system: FileSystem) -> None:
        path = system.live
        path.rename(system.content)
        if system.covered is not None:
            system.covered.rename(path)
        system.is_mounted, system.covered = False, None
        self._mounts.table = [e for e in self._mounts.table if e.source != system.name]

    def _is_shown(self, system: FileSystem) -> bool:
        """Whether a null mount shows it elsewhere."""
        nulls = (each for each in self._mounts.table if each.kind == "nullfs")
        return any(Path(each.source).is_relative_to(system.live) for each in nulls)

    def _is_told_busy(self, name: str) -> bool:
        left = self.busy.get(name, 0)
        self.busy[name] = max(0, left - 1)
        return left > 0

    def _family(self, name: str) -> Iterable[FileSystem]:
        below = (n for n in sorted(self.systems) if n == name or n.startswith(f"{name}/"))
        return [self.systems[each] for each in below]

    def _clones(self, system: FileSystem) -> set[str]:
        origins = {f"{system.name}@{label}" for label in system.snapshots}
        return {each.name for each in self.systems.values() if each.origin in origins}

    def _row(self, system: FileSystem, name: str, columns: list[str]) -> str:
        is_snapshot = "@" in name
        said = {
            "name": name,
            "type": "snapshot" if is_snapshot else "filesystem",
            "mounted": "-" if is_snapshot else ("yes" if system.is_mounted else "no"),
        }
        return "\t".join(said.get(each) or self._property(system, each) for each in columns)

    def _property(self, system: FileSystem, name: str) -> str:
        """Of the file system, or of the nearest above it that has such a one."""
        at = system.name
        while at:
            if name in self.systems[at].properties:
                return self.systems[at].properties[name]
            at = at.rpartition("/")[0]
        return "-"

    def _next_folder(self) -> Path:
        if self._folder is None:
            raise AssertionError("there is no pool")
        self._made += 1
        return self._folder / str(self._made)


def _options(words: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Properties given with ``-o``, and the other words."""
    properties = {}
    left = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "-o":
            name, _, value = rest.pop(0).partition("=")
            properties[name] = value
        else:
            left.append(word)
    return properties, left
