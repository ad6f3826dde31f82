"""Looking into a jail that runs: commands that are run in it, and what it uses.

Everything in a jail descends from the one process that bwrap(1) made the first of it, so the
tree of processes is complete: whoever loses its parent there gets that one as its new parent.
"""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from jails.namespaces.abilities import SEARCH_PATH
from jails.namespaces.bwrap import DATA
from jails.runtime import JailError
from jails.spec import JailUsage

if TYPE_CHECKING:
    from collections.abc import Mapping

_INTERFACES = Path("/sys/class/net")


def first_inside(jail: str, pid: int) -> int:
    """The first process inside of the jail whose bwrap(1) is ``pid``; raises ``JailError``."""
    try:
        children = psutil.Process(pid).children()
    except psutil.Error as error:
        raise JailError(jail, "ended just now", "try again") from error
    if not children:
        raise JailError(jail, "has only begun to start", "try again")
    return children[0].pid


def bounds_of(jail: str, first: int) -> tuple[tuple[int, int], int | None]:
    """What the process ``first`` was bounded to: open files, and bytes of address space if any.

    Raises ``JailError`` if it ended.
    """
    try:
        files = resource.prlimit(first, resource.RLIMIT_NOFILE)
        _, memory = resource.prlimit(first, resource.RLIMIT_AS)
    except ProcessLookupError as error:
        raise JailError(jail, "ended just now", "try again") from error
    return files, None if memory == resource.RLIM_INFINITY else memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a jail a command is to run."""

    # A process whose namespaces it enters.
    first: int
    # User and group number.
    account: tuple[int, int]
    # Words before it that bound it as the jail's own program is: prlimit(1), and joining a group.
    bounds: tuple[str, ...] = ()


def command_inside(
    tools: Mapping[str, str], place: Place, command: tuple[str, ...]
) -> tuple[str, ...]:
    """Run ``command`` in all namespaces of a jail.

    It has no capability, and of the environment what every program starts with.
    """
    return (
        *_entered(tools, place),
        *("env", "--ignore-environment", f"--chdir={DATA}"),
        *(f"PATH={SEARCH_PATH}", f"HOME={DATA}", "LANG=C.UTF-8"),
        *command,
    )


def hook_inside(
    tools: Mapping[str, str], place: Place, command: tuple[str, ...]
) -> tuple[str, ...]:
    """Like ``command_inside``, with the environment that all of this is run with."""
    return (*_entered(tools, place), "env", f"--chdir={DATA}", *command)


def _entered(tools: Mapping[str, str], place: Place) -> tuple[str, ...]:
    first, account = place.first, place.account
    return (
        *place.bounds,
        *(tools["nsenter"], f"--target={first}", "--mount", "--pid", "--ipc", "--uts", "--net"),
        *("--cgroup", "--", tools["setpriv"], f"--reuid={account[0]}", f"--regid={account[1]}"),
        *("--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"),
        # nsenter(1) has to fork; if it is killed, so is what it started.
        *("--pdeathsig=KILL", "--"),
    )


def usage_of(jail: str, pid: int, interface: str) -> JailUsage:
    """What the processes of a jail use now; its traffic if it has an ``interface`` on the host."""
    try:
        inside = psutil.Process(first_inside(jail, pid)).children(recursive=True)
    except psutil.Error as error:
        raise JailError(jail, "ended just now", "try again") from error
    memory, cpu, files, count = 0, 0.0, 0, 0
    for process in inside:
        try:
            with process.oneshot():
                times = process.cpu_times()
                memory += process.memory_info().rss
                cpu += times.user + times.system + times.children_user + times.children_system
                files += process.num_fds()
                count += 1
        except psutil.Error:
            continue  # ended meanwhile
    return JailUsage(
        memory_bytes=memory,
        cpu_s=cpu,
        processes=count,
        open_files=files,
        # What the host sends into its end of the pair, the jail receives.
        received_bytes=_counter(interface, "tx_bytes"),
        sent_bytes=_counter(interface, "rx_bytes"),
    )


def _counter(interface: str, name: str) -> int | None:
    try:
        return int((_INTERFACES / interface / "statistics" / name).read_text("ascii"))
    except (OSError, ValueError):
        return None
