"""What this machine and this user can do of jail(8): found by asking, said in one sentence.

Nothing is changed, and no kernel module is loaded by asking: zfs(8) loads its own when it is run,
so whether there is ZFS is read from the mounts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jails.freebsd import jls, mount, pfctl, sysctl, zfs
from jails.freebsd.unreadable import UnreadableAnswer
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maculaos.host.commands import CommandRunner

SEARCH_PATH = "/sbin:/bin:/usr/sbin:/usr/bin"
_SYSTEM = "FreeBSD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What there is to make jails of."""

    # Why no jail can be made at all; empty: one can.
    obstacle: str = ""
    # Whether a jail can have a network stack of its own (VIMAGE).
    has_network: bool = False
    # Whether the kernel counts what a jail uses, and so can bound it (RACCT, RCTL).
    has_limits: bool = False
    # Whether pf is there and enabled: forwards, and a way out.
    has_firewall: bool = False
    # Whether a ZFS is mounted anywhere, so that writable parts on it can be datasets.
    has_zfs: bool = False

    def statement(self) -> str:
        """For people: what works here, and what does not and why; one line."""
        if self.obstacle:
            return f"jails do not work here: {self.obstacle}"
        missing = "; ".join(self._missing())
        return "jails work here" + (f", but {missing}" if missing else " in full")

    def _missing(self) -> Iterator[str]:
        if not self.has_network:
            yield "the kernel has no VIMAGE: no network of its own for a jail"
        if not self.has_limits:
            yield "kern.racct.enable is not 1 (set it in /boot/loader.conf): no limits"
        if not self.has_firewall:
            yield "pf is not loaded and enabled (service pf onestart): no forwards, no way out"
        if not self.has_zfs:
            yield "no ZFS is mounted: writable parts are folders, and snapshots are copies"


def probe(runner: CommandRunner) -> Abilities:
    """Look at the machine; never raises for what it lacks, whatever system it is."""
    obstacle = _obstacle(runner)
    if obstacle:
        return Abilities(obstacle=obstacle)
    return Abilities(
        has_network=_value(runner, "kern.features.vimage") == "1",
        has_limits=_value(runner, "kern.racct.enable") == "1",
        has_firewall=pfctl.is_enabled(_answer(runner, *pfctl.status_argv())),
        has_zfs=_has_zfs(runner),
    )


def _obstacle(runner: CommandRunner) -> str:
    system = _answer(runner, "uname", "-s").strip()
    if system != _SYSTEM:
        return f"jail(8) is of {_SYSTEM}, and this is {system or 'another system'}"
    if _answer(runner, "id", "-u").strip() != "0":
        return "only root can make jails"
    try:
        jls.parse_jls(runner.run(*jls.jls_argv()))
    except CommandFailed as failed:
        said = failed.stderr.strip().splitlines()
        return said[-1] if said else "jls(8) fails without a word"
    except UnreadableAnswer as unreadable:
        return str(unreadable)
    return ""


def _has_zfs(runner: CommandRunner) -> bool:
    try:
        mounted = mount.parse_mounts(_answer(runner, *mount.list_argv()))
    except UnreadableAnswer:
        return False
    return any(each.kind == zfs.KIND for each in mounted)


def _value(runner: CommandRunner, tunable: str) -> str:
    return _answer(runner, *sysctl.value_argv(tunable)).strip()


def _answer(runner: CommandRunner, *argv: str) -> str:
    """What the command says; nothing if it fails, because then what it asks for is not there."""
    try:
        return runner.run(*argv)
    except CommandFailed:
        return ""
