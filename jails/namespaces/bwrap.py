"""bwrap(1): the arguments that give a program its own root folder, processes and host name. Pure.

The root folder is an empty one in memory. What a program sees is put into it by name, so whatever
nobody thought of is not there; when all is in place it becomes read-only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Where a jail sees its writable part.
DATA = "/data"
# Own and empty at every start, in memory; anybody may write there.
_SCRATCH = ("/tmp", "/run", "/var/tmp")  # noqa: S108  # folders of the jail, not of the host


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or folder of the host, seen at ``target``."""

    source: str
    target: str
    is_writable: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link at ``target``."""

    text: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a program sees of the host's files."""

    # In this order; a bind at / comes first, and makes the root folder what it holds.
    system: tuple[Bind | Link, ...]
    # Inside of the above, and yet not to be seen.
    hidden_files: tuple[str, ...] = ()
    hidden_folders: tuple[str, ...] = ()
    data: str
    mounts: tuple[Bind, ...] = ()
    scratch_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a program may do; capabilities count only if bwrap is started by root."""

    is_root: bool
    capabilities: tuple[str, ...] = ()


def bwrap_argv(
    bwrap: str, hostname: str, view: View, rights: Rights, command: tuple[str, ...]
) -> tuple[str, ...]:
    """Run ``command`` in namespaces of its own, all but user and network.

    Without root bwrap makes a user namespace by itself. The program stays in the session and
    process group it was started in, so that its keeper's signals reach it.
    """
    return (
        bwrap,
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--hostname", hostname),
        *_rights_argv(rights),
        *_view_argv(view),
        *("--setenv", "HOME", DATA, "--setenv", "PWD", DATA, "--chdir", DATA),
        "--",
        *command,
    )


def _rights_argv(rights: Rights) -> Iterable[str]:
    if rights.is_root:
        yield from ("--cap-drop", "ALL")
        for capability in rights.capabilities:
            yield from ("--cap-add", capability)


def _view_argv(view: View) -> Iterable[str]:
    whole = [each for each in view.system if each.target == "/"]
    parts = [each for each in view.system if each.target != "/"]
    yield from _entries_argv(whole)
    for folder in _SCRATCH:
        yield from ("--perms", "1777", "--size", str(view.scratch_bytes), "--tmpfs", folder)
    yield from _entries_argv(parts)
    for folder in view.hidden_folders:
        yield from ("--perms", "0700", "--tmpfs", folder, "--remount-ro", folder)
    for file in view.hidden_files:
        yield from ("--ro-bind", "/dev/null", file)
    yield from ("--proc", "/proc", "--dev", "/dev")
    # What is shared in memory; bwrap's own folder for it has no bound.
    yield from ("--perms", "1777", "--size", str(view.scratch_bytes), "--tmpfs", "/dev/shm")  # noqa: S108  # of the jail
    # The kernel asks for no capability where root writes its settings (sysctl(7), core(5)), and
    # the program may have root's number.
    yield from ("--remount-ro", "/proc", "--remount-ro", "/dev")
    yield from ("--bind", view.data, DATA)
    yield from _entries_argv(view.mounts)
    if not whole:
        yield from ("--remount-ro", "/")


def _entries_argv(entries: Iterable[Bind | Link]) -> Iterable[str]:
    made: dict[str, None] = {}
    for entry in entries:
        # bwrap itself makes them for root alone, and an account of the jail could not pass.
        for parent in reversed(PurePosixPath(entry.target).parents[:-1]):
            if str(parent) not in made:
                made[str(parent)] = None
                yield from ("--perms", "0755", "--dir", str(parent))
        if isinstance(entry, Link):
            yield from ("--symlink", entry.text, entry.target)
        else:
            how = "--bind" if entry.is_writable else "--ro-bind"
            yield from (how, entry.source, entry.target)
