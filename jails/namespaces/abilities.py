"""What this machine and this user can do of it all: found by trying, said in one sentence."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jails.namespaces import limits
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.host.commands import CommandRunner

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS = ("bwrap", "ip", "nft", "nsenter", "prlimit", "setpriv")
_PACKAGES = "bubblewrap, iproute2, nftables and util-linux"
_GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What there is to make jails of."""

    is_root: bool
    # Paths by name, of those that are installed.
    tools: dict[str, str]
    # Why no jail can be made at all; empty: one can.
    obstacle: str = ""
    # The top of the control groups v2, and the controllers that it can hand on.
    groups: Path | None = None
    controllers: frozenset[str] = frozenset()

    @property
    def has_network(self) -> bool:
        """Whether a jail can have a network of its own."""
        return self.is_root and "ip" in self.tools

    @property
    def has_firewall(self) -> bool:
        """Whether a jail's network can be joined to others by forwards and a way out."""
        return self.has_network and "nft" in self.tools

    def statement(self) -> str:
        """For people: what works here, and what does not and why; one line."""
        if self.obstacle:
            return f"namespaces do not work here: {self.obstacle}"
        missing = "; ".join(self._missing())
        return "namespaces work here" + (f", but {missing}" if missing else " in full")

    def _missing(self) -> Iterator[str]:
        if not self.is_root:
            yield "not as root: no network, forwards or account of its own for a jail"
        elif absent := [tool for tool in TOOLS if tool not in self.tools]:
            yield f"{', '.join(absent)} not installed (packages {_PACKAGES})"
        needed = (limits.MEMORY, limits.PROCESSES, limits.CPU)
        if lacking := [name for name in needed if name not in self.controllers]:
            yield (
                f"no control group v2 for {', '.join(lacking)}: memory is limited for each process"
                " and not for the whole jail, processes and processor share are not limited"
            )


def probe(runner: CommandRunner, groups: tuple[Path, ...] = _GROUPS) -> Abilities:
    """Look at the machine, and make one empty sandbox to see whether that works."""
    tools = {name: path for name in TOOLS if (path := shutil.which(name, path=SEARCH_PATH))}
    is_root = os.geteuid() == 0
    top, controllers = _control_groups(groups) if is_root else (None, frozenset[str]())
    return Abilities(
        is_root=is_root,
        tools=tools,
        obstacle=_obstacle(runner, tools),
        groups=top,
        controllers=controllers,
    )


def _obstacle(runner: CommandRunner, tools: dict[str, str]) -> str:
    if "bwrap" not in tools:
        return f"bwrap is not installed (packages {_PACKAGES})"
    try:
        runner.run(
            *(tools["bwrap"], "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
            *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "true"),
            timeout_s=10.0,
        )
    except CommandFailed as failed:
        said = failed.stderr.strip().splitlines()
        return said[-1] if said else "bwrap fails without a word"
    return ""


def _control_groups(groups: tuple[Path, ...]) -> tuple[Path | None, frozenset[str]]:
    for top in groups:
        try:
            text = (top / "cgroup.controllers").read_text("ascii")
        except OSError:
            continue
        if os.access(top, os.W_OK):
            return top, limits.parse_controllers(text)
    return None, frozenset()
