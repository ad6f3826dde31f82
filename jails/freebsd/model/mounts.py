"""The mounts of the model, and mount(8) and umount(8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.freebsd.model.answer import Answer, UntaughtCommand, refused
from jails.freebsd.mount import Mount

if TYPE_CHECKING:
    from collections.abc import Callable

    from jails.freebsd.model.files import Files

_LOCAL = ("ufs", "tmpfs", "nullfs")
_WORDS = {"ro": "read-only"}


def _machine() -> list[Mount]:
    table = (
        ("/dev/gpt/slotA", "/", "ufs", "ro"),
        ("devfs", "/dev", "devfs", "rw"),
        ("tmpfs", "/etc", "tmpfs", "rw"),
        ("tmpfs", "/var", "tmpfs", "rw"),
        ("/dev/gpt/data", "/data", "ufs", "rw"),
        ("tmpfs", "/tmp", "tmpfs", "rw"),  # noqa: S108  a row of the model's table
    )
    return [Mount(source=s, path=p, kind=k, options=(o,)) for s, p, k, o in table]


class Mounts:
    """What is mounted; ``is_used`` says whether a process holds a path (then umount refuses)."""

    def __init__(self, files: Files, is_used: Callable[[str], bool]) -> None:
        self.table = _machine()
        # How often umount still says "Device busy" for a path, whoever holds it.
        self.busy: dict[str, int] = {}
        self._files = files
        self._is_used = is_used

    def mount(self, argv: tuple[str, ...]) -> Answer:
        """mount(8)."""
        if argv == ("mount",):
            return Answer("".join(f"{_long(each)}\n" for each in self.table))
        if argv == ("mount", "-p"):
            return Answer("".join(f"{_short(each)}\n" for each in self.table))
        if argv[:2] == ("mount", "-t") and argv[3:4] == ("-o",):
            _, _, kind, _, options, source, path = argv
            wanted = Mount(source=source, path=path, kind=kind, options=tuple(options.split(",")))
            return self.add(wanted)
        raise UntaughtCommand(argv)

    def add(self, wanted: Mount) -> Answer:
        """Mount it on whatever is there; source and mount point must exist."""
        for path in (wanted.source, wanted.path):
            if path.startswith("/") and not self._files.exists(self.inside(path)):
                return refused(f"mount_{wanted.kind}: {path}: No such file or directory")
        if wanted.kind == "nullfs" and self.inside(wanted.path) == wanted.source:
            # sys/fs/nullfs/null_vfsops.c refuses a null mount upon its own copy with EDEADLK.
            return refused(f"mount_nullfs: {wanted.path}: Resource deadlock avoided")
        self.table.append(wanted)
        return Answer()

    def umount(self, argv: tuple[str, ...]) -> Answer:
        """umount(8), with or without force; of several mounts the last one goes."""
        if len(argv) > 3 or (len(argv) == 3 and argv[1] != "-f"):
            raise UntaughtCommand(argv)
        path = argv[-1]
        held = [n for n, each in enumerate(self.table) if each.path == path]
        if not held:
            return refused(f"umount: {path}: not a file system root directory")
        is_covered = any(each.path.startswith(f"{path.rstrip('/')}/") for each in self.table)
        is_busy = is_covered or self._is_used(path) or self._is_told_busy(path)
        if "-f" not in argv and is_busy:
            return refused(f"umount: unmount of {path} failed: Device busy")
        del self.table[held[-1]]
        return Answer()

    def inside(self, path: str) -> str:
        """Where the content of ``path`` really lies, through null mounts."""
        for each in reversed(self.table):
            if each.kind == "nullfs" and f"{path}/".startswith(f"{each.path}/"):
                return each.source + path[len(each.path) :]
        return path

    def _is_told_busy(self, path: str) -> bool:
        left = self.busy.get(path, 0)
        self.busy[path] = max(0, left - 1)
        return left > 0


def _long(each: Mount) -> str:
    words = [each.kind, *(["local"] if each.kind in _LOCAL else [])]
    words += [_WORDS[option] for option in each.options if option in _WORDS]
    return f"{each.source} on {each.path} ({', '.join(words)})"


def _short(each: Mount) -> str:
    # Columns of 24, 24, 8 and 16; what is too long is followed by one blank.
    checks = {"/": "1 1", "/data": "2 2"}.get(each.path, "0 0")
    options = ",".join(each.options)
    columns = ((each.source, 3), (each.path, 3), (each.kind, 1), (options, 2))
    return "".join(_tabbed(word, tabs) for word, tabs in columns) + checks


def _tabbed(word: str, tabs: int) -> str:
    return word + "\t" * max(1, tabs - len(word) // 8)
