"""What the machine itself says of a site: processes, ports, locks; never the reconciler's word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from maculaos.host.files import AlreadyLocked, exclusive_lock

if TYPE_CHECKING:
    from demo.site import Site


def node_processes(site: Site) -> dict[str, int]:
    """Process id of every node of this site that runs, by node name."""
    named = ((_node_of(process, site), process.pid) for process in psutil.process_iter())
    return {name: pid for name, pid in named if name is not None}


def processes(site: Site) -> list[str]:
    """Command lines of every process that works in this site, but for our own and our parents."""
    inside = f"{site.root}{os.sep}"
    asking = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    others = [_words(process) for process in psutil.process_iter() if process.pid not in asking]
    return [" ".join(words) for words in others if any(inside in word for word in words)]


def udp_ports(pid: int) -> set[int]:
    """The UDP ports that a process has bound."""
    # A socket that is not bound has an empty address.
    addresses = [c.laddr for c in psutil.Process(pid).net_connections("udp")]
    return {port for address in addresses if (port := getattr(address, "port", 0))}


def is_locked(path: Path) -> bool:
    """Whether any process holds that lock file."""
    try:
        with exclusive_lock(path):
            return False
    except AlreadyLocked:
        return True


def _node_of(process: psutil.Process, site: Site) -> str | None:
    words = _words(process)
    if "start" not in words or words[-2:-1] != ["--config"]:
        return None
    jail = Path(words[-1]).parent.parent
    return jail.name.removeprefix("node-") if jail.is_relative_to(site.state) else None


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
