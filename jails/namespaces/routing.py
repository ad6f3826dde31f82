"""Forwarding on this machine: switched on for jails that have a way out, as narrowly as it can be.

It remembers nothing: what jails need is read from their tables, what stands from the guard and
the switches. Who changes it holds the lock of the machine's network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jails.namespaces import guard, ip, nft, switches
from jails.namespaces.switches import Switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maculaos.host.commands import CommandRunner


class Routing:
    """Brings switches and guard to what the tables of all jails ask for, by looking alone."""

    def __init__(self, runner: CommandRunner, ip_tool: str, nft_tool: str) -> None:
        self._run = runner.run
        self._ip = ip_tool
        self._nft = nft_tool

    def serves(self, table: str) -> bool:
        """Whether all is forwarded that the jail with that table asks for, and it alone.

        Of others it says nothing, so that it does not depend on what is being done to them.
        """
        sets = self._sets()
        return all(self._serves(family, sets, table) for family in nft.FAMILIES)

    def settle(self) -> None:
        """Do what is to do; what a crash left half done is done again."""
        sets = self._sets()
        for family in nft.FAMILIES:
            self._settle(family, sets)

    def _serves(self, family: str, sets: Iterable[nft.Elements], table: str) -> bool:
        own = guard.read_wishes(family, [each for each in sets if each.table == table])
        if not own.jails:
            return True
        standing, needed = guard.read_guard(family, sets), self._needed(family, own)
        wanted = guard.wanted_guard(own, _to_open(needed))
        if not needed and standing != guard.NOTHING:
            return False  # the machine became a router, and the guard is in its way
        others = {name for name, switch in needed.items() if switch is Switch.OTHERS}
        return (
            Switch.OFF not in needed.values()
            and not others & standing.opened
            and wanted.opened <= standing.opened
            and wanted.jails <= standing.jails
        )

    def _settle(self, family: str, sets: Iterable[nft.Elements]) -> None:
        before, wishes = guard.read_guard(family, sets), guard.read_wishes(family, sets)
        wanted = guard.wanted_guard(wishes, _to_open(self._needed(family, wishes)))
        for name in (before.opened | switches.ours(family)) - wanted.opened:
            switches.write(family, name, is_on=False)
        if wanted != before:
            self._replace(family, wanted)
        for name in wanted.opened:
            switches.write(family, name, is_on=True)

    def _replace(self, family: str, wanted: guard.Guard) -> None:
        if wanted == guard.NOTHING:
            self._run(*nft.delete_argv(self._nft, family, guard.TABLE))
        else:
            self._run(*nft.load_argv(self._nft), stdin=guard.commands(family, wanted))

    def _needed(self, family: str, wishes: guard.Wishes) -> Mapping[str, Switch]:
        """The switches that must be on, as far as there are such interfaces."""
        if not wishes.jails or switches.is_router(family):
            return {}
        names = self._names(family, wishes)
        found = {name: switches.read(family, name) for name in names}
        return {name: switch for name, switch in found.items() if switch is not None}

    def _names(self, family: str, wishes: guard.Wishes) -> frozenset[str]:
        if switches.has_one_for_all(family):
            return frozenset({guard.ALL})
        routes = self._run(*ip.default_routes_argv(self._ip, is_ipv6=family == nft.IPV6))
        return wishes.through | ip.parse_route_interfaces(routes)

    def _sets(self) -> tuple[nft.Elements, ...]:
        return nft.parse_sets(self._run(*nft.sets_argv(self._nft)))


def _to_open(needed: Mapping[str, Switch]) -> frozenset[str]:
    return frozenset(name for name, switch in needed.items() if switch is not Switch.OTHERS)
