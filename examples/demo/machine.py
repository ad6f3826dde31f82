"""What the machine itself says of a site: processes, ports, locks; never the reconciler's word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from maculaos.host.files import AlreadyLocked, exclusive_lock

if TYPE_CHECKING:
    from demo.site import Site

_NOWHERE: Final = (-1, -1)


def node_processes(site: Site) -> dict[str, int]:
    """Process id of every node of this site that runs, by node name."""
    folders = _data_folders(site)
    named = ((_node_of(process, folders), process.pid) for process in psutil.process_iter())
    return {name: pid for name, pid in named if name is not None}


def processes(site: Site) -> list[str]:
    """Command lines of every process that works in this site, but for our own and our parents."""
    inside = f"{site.root}{os.sep}"
    folders = _data_folders(site)
    asking = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = [process for process in psutil.process_iter() if process.pid not in asking]
    works_here = [
        process
        for process in others
        if _seen_folder(process) in folders or any(inside in word for word in _words(process))
    ]
    return [" ".join(_words(process)) for process in works_here]


def udp_ports(pid: int) -> set[int]:
    """The UDP ports that a process has bound, in whatever network it lives."""
    tables = [Path(f"/proc/{pid}/net/{name}") for name in ("udp", "udp6")]
    if not any(table.exists() for table in tables):
        # A socket that is not bound has an empty address.
        addresses = [c.laddr for c in psutil.Process(pid).net_connections("udp")]
        return {port for address in addresses if (port := getattr(address, "port", 0))}
    held = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [row.split() for table in tables for row in table.read_text().splitlines()[1:]]
    bound = {row[1] for row in rows if f"socket:[{row[9]}]" in held}
    return {int(address.rpartition(":")[2], 16) for address in bound}


def is_locked(path: Path) -> bool:
    """Whether any process holds that lock file."""
    try:
        with exclusive_lock(path):
            return False
    except AlreadyLocked:
        return True


def _node_of(process: psutil.Process, folders: dict[tuple[int, int], str]) -> str | None:
    words = _words(process)
    is_node = "start" in words and words[-2:-1] == ["--config"]
    # A sandbox has the words of what it runs at its end.
    if not is_node or Path(words[0]).name == "bwrap":
        return None
    jail = folders.get(_identity(Path(words[-1]).parent)) or folders.get(_seen_folder(process))
    return None if jail is None else jail.removeprefix("node-")


def _data_folders(site: Site) -> dict[tuple[int, int], str]:
    """The writable part of each jail by what the file system knows it by, and the jail's name."""
    found = {_identity(path): path.parent.name for path in site.state.glob("jails/*/data")}
    return {identity: name for identity, name in found.items() if identity != _NOWHERE}


def _seen_folder(process: psutil.Process) -> tuple[int, int]:
    """What lies at /data for a process with a root folder of its own; only Linux tells."""
    root = Path(f"/proc/{process.pid}/root")
    return _identity(root / "data") if _identity(root) != _identity(Path("/")) else _NOWHERE


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return _NOWHERE
    return found.st_dev, found.st_ino


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
