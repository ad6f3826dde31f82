"""What of the host's files a jail sees as its system: looked up when it starts.

Of the machine's own system that is programs, libraries and configuration, without the secrets
that are in there; and the installation that this very code runs from. Homes, logs, other jails
and everything else are left out.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jails.namespaces.bwrap import Bind, Link
from jails.spec import RootKind
from maculaos import host

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jails.spec import Root

_PARTS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "opt", "nix")
# The jail has its own of these, whatever lies in the base of a thin root.
_OWN = frozenset({"data", "dev", "proc", "run", "sys", "tmp", "var"})
_SECRETS = (
    *("etc/shadow", "etc/shadow-", "etc/gshadow", "etc/gshadow-", "etc/sudoers"),
    *("etc/ssh", "etc/ssl/private", "etc/sudoers.d", "etc/wireguard"),
)
_OPEN_FILE, _OPEN_FOLDER = stat.S_IROTH, stat.S_IROTH | stat.S_IXOTH
# On many machines /etc/resolv.conf is a link to in here.
_RESOLVER = Path("/run/systemd/resolve")


def system_of(root: Root, *, names_hosts: bool) -> tuple[Bind | Link, ...]:
    """What makes up the root folder; ``names_hosts``: with the host's resolver."""
    base = Path(root.base)
    if root.kind is RootKind.THICK:
        return (Bind(str(base), "/", is_writable=True),)
    resolver = [Bind(str(_RESOLVER), str(_RESOLVER))] if names_hosts and _RESOLVER.is_dir() else []
    if root.kind is RootKind.THIN and base != Path("/"):
        return (*_entries(base, sorted(set(os.listdir(base)) - _OWN)), *resolver)
    return (*_entries(base, _PARTS), *_software(), *resolver)


def hidden_of(
    root: Root, private: Iterable[Path], system: Iterable[Bind | Link]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files, and folders, of ``system`` that a jail has no business with; as seen inside.

    The program may have root's number, and so root's files: of the configuration it sees what
    everybody may read, and nothing that is known to be a secret. Of the folders ``private`` of the
    host it sees nothing. Whoever hides a folder hides all in it, so none is within another.
    """
    files, folders = ([], []) if root.kind is RootKind.THICK else _secrets(Path(root.base))
    hidden = {*folders, *_seen_at(private, system)}
    outermost = [path for path in hidden if hidden.isdisjoint(path.parents)]
    shown = {path for path in files if hidden.isdisjoint(path.parents)}
    return tuple(map(str, sorted(shown))), tuple(map(str, sorted(outermost)))


def _secrets(base: Path) -> tuple[list[Path], list[Path]]:
    found = [base / name for name in _SECRETS if (base / name).exists()]
    folders = [path for path in found if path.is_dir()]
    files = [path for path in found if not path.is_dir()]
    for top, below, names in os.walk(base / "etc"):
        here = Path(top)
        folders += [here / name for name in below if not _is_open(here / name, _OPEN_FOLDER)]
        below[:] = [name for name in below if here / name not in folders]
        files += [here / name for name in names if not _is_open(here / name, _OPEN_FILE)]
    inside = Path("/")
    return (
        [inside / path.relative_to(base) for path in files],
        [inside / path.relative_to(base) for path in folders],
    )


def _is_open(path: Path, everybody: int) -> bool:
    """Whether everybody may read it; links are only names, and nothing else keeps a secret."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return True  # gone meanwhile
    keeps_any = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return not keeps_any or mode & everybody == everybody


def _seen_at(folders: Iterable[Path], system: Iterable[Bind | Link]) -> Iterator[Path]:
    """Where a jail with that system would see some folders of the host, if at all."""
    binds = [
        (Path(each.source).resolve(), Path(each.target))
        for each in system
        if isinstance(each, Bind)
    ]
    for folder in (each.resolve() for each in folders if each.is_dir()):
        for source, target in binds:
            if folder.is_relative_to(source):
                yield target / folder.relative_to(source)


def _entries(base: Path, names: Iterable[str]) -> Iterator[Bind | Link]:
    for name in names:
        path = base / name
        if path.is_symlink():
            yield Link(os.readlink(path), f"/{name}")
        elif path.exists():
            yield Bind(str(path), f"/{name}")


def _software() -> Iterator[Bind]:
    """The interpreter, its libraries, and this package where it is used from a checkout."""
    package = Path(host.__path__[0]).parent
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    wanted += [package, package.with_name("jails"), package.with_name("reconciler")]
    seen = [Path("/", part) for part in _PARTS]
    for path in wanted:
        if path.is_dir() and not any(path.is_relative_to(each) for each in seen):
            seen.append(path)
            yield Bind(str(path), str(path))
