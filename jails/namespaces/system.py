"""What of the host's files a jail sees as its system: looked up when it starts.

Of the machine's own system that is programs, libraries and configuration, without the secrets
that are in there; and the installation that this very code runs from. Homes, logs, other jails
and everything else are left out.
"""

from __future__ import annotations

import os
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


def secrets_of(root: Root) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files, and folders, of the system that a jail has no business with; as seen inside."""
    base = Path(root.base)
    if root.kind is RootKind.THICK:
        return (), ()
    found = [name for name in _SECRETS if (base / name).exists()]
    folders = tuple(f"/{name}" for name in found if (base / name).is_dir())
    return tuple(f"/{name}" for name in found if not (base / name).is_dir()), folders


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
