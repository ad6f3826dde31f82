"""The root folder of a thin jail, made anew at every start, and the places to mount upon.

What a program left outside its writable part is gone with the old folder, links to elsewhere
included, so nothing that the host writes here can be led astray.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jails.runtime import JailError
from jails.spec import RootKind
from maculaos.host.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.freebsd.mount import Mount
    from jails.freebsd.place import Place

_FOLDERS = ("dev", "etc", "root", "tmp", "var", "var/log", "var/run", "var/tmp")
_STICKY = ("tmp", "var/tmp")
# Accounts, which the start needs, and what programs look for; those that the base has.
_ETC = (
    *("passwd", "master.passwd", "group", "pwd.db", "spwd.db", "login.conf", "login.conf.db"),
    *("hosts", "localtime", "nsswitch.conf", "protocols", "resolv.conf", "services"),
)
_SECRET = ("master.passwd", "spwd.db")


def make_root(place: Place, base: Path, kind: RootKind, wanted: Iterable[Mount]) -> None:
    """Make the root folder, and in it, or in a thick ``base``, every place to mount upon.

    Nothing may be mounted on it: who calls has looked.
    """
    if place.root.exists():
        shutil.rmtree(place.root)
    place.root.mkdir(mode=0o755)
    is_thick = kind is RootKind.THICK
    inside = base if is_thick else place.root
    for folder in ("dev",) if is_thick else _FOLDERS:
        _make(place, inside, folder)
    if not is_thick:
        _fill(place.root, base / "etc")
    for each in wanted:
        below = each.path[len(str(place.root)) :].lstrip("/")
        if below:
            _make(place, inside, below, is_file=Path(each.source).is_file())


def _fill(root: Path, etc: Path) -> None:
    for folder in _STICKY:
        (root / folder).chmod(0o1777)
    for name in _ETC:
        # Followed on the host: its own files may be links.
        with suppress(FileNotFoundError):
            content = (etc / name).read_bytes()
            write_atomically(root / "etc" / name, content, 0o600 if name in _SECRET else 0o644)


def _make(place: Place, root: Path, below: str, *, is_file: bool = False) -> None:
    """Each folder of the way, none of them a link."""
    path = root
    for part in Path(below).parts:
        path /= part
        if path.is_symlink():
            raise JailError(place.name, f"{path} is a link", "mount on a plain folder")
        if is_file and path == root / below:
            path.touch()
        else:
            path.mkdir(mode=0o755, exist_ok=True)
