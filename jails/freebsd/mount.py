"""mount(8) and umount(8): what is mounted where, in the form of fstab(5), and how to undo it."""

from __future__ import annotations

from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_FIELDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mounted file system; later ones may lie on earlier ones."""

    source: str
    path: str
    kind: str
    options: tuple[str, ...]

    def fstab_line(self) -> str:
        """As fstab(5) wants it; blanks cannot be said there, and are refused before."""
        return f"{self.source} {self.path} {self.kind} {','.join(self.options)} 0 0"


def list_argv() -> tuple[str, ...]:
    """Every mount, in the order of mounting."""
    return ("mount", "-p")


def unmount_argv(path: str, *, by_force: bool = False) -> tuple[str, ...]:
    """Unmount ``path``; by force even if it is in use."""
    return ("umount", *(("-f",) if by_force else ()), path)


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Answer of ``list_argv`` in its order; raises ``UnreadableAnswer``."""
    return tuple(_mount(line) for line in text.splitlines() if line)


def is_busy(stderr: str) -> bool:
    """Whether umount(8) refused because something still uses the mount."""
    return stderr.rstrip().endswith(": Device busy")


def is_not_mounted(stderr: str) -> bool:
    """Whether umount(8) refused because nothing is mounted there."""
    return stderr.rstrip().endswith(": not a file system root directory")


def _mount(line: str) -> Mount:
    fields = line.split()
    if len(fields) != _FIELDS or not fields[1].startswith("/"):
        raise UnreadableAnswer("mount", line)
    source, path, kind, options, *_ = fields
    return Mount(source=source, path=path, kind=kind, options=tuple(options.split(",")))
