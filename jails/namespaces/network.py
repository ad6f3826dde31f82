"""The network of a jail on the host: namespace, pair of interfaces, bridge, table of rules.

Everything is found by names that are derived from the jail's, so whatever a crash left is taken
away before it is made anew. One lock for the machine keeps two from working on one bridge.
"""

from __future__ import annotations

from contextlib import contextmanager
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING

from jails.namespaces import ip, nft
from jails.namespaces.routing import Routing
from jails.naming import mac_of_bridge
from jails.runtime import JailError
from maculaos.host.files import make_private_directory
from maculaos.host.locks import locked_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jails.namespaces.abilities import Abilities
    from jails.namespaces.naming import Labels
    from jails.spec import Isolation, Network
    from maculaos.host.clock import Clock
    from maculaos.host.commands import CommandRunner

_LOCK = Path("/run/macula/network")
_BUSY_S = 30.0


class NetworkMaker:
    """Makes and takes away what a jail needs of the host's network; needs root."""

    def __init__(self, runner: CommandRunner, abilities: Abilities, clock: Clock) -> None:
        self._run = runner.run
        self._ip = abilities.tools.get("ip", "ip")
        self._nft = abilities.tools.get("nft", "nft") if abilities.has_firewall else None
        self._routing = Routing(runner, self._ip, self._nft) if self._nft is not None else None
        self._clock = clock

    def places(self) -> frozenset[str]:
        """Names of all namespaces and tables that there are, whosoever."""
        found = frozenset(ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip))))
        aliases = frozenset(link.alias for link in self.links().values())
        return found | aliases | {name for _, name in self._tables()}

    def links(self) -> Mapping[str, ip.Link]:
        """The interfaces of the host."""
        return ip.parse_links(self._run(*ip.links_argv(self._ip)))

    def make(self, jail: str, labels: Labels, isolation: Isolation) -> None:
        """Make all of it; nothing of it is there. Raises ``JailError`` or ``CommandFailed``."""
        network = isolation.network
        with self._alone():
            self._make_bridge(jail, network)
            self._make_pair(jail, labels, network)
            if network.gateway and self._nft is not None:
                wanted = nft.Ruleset(
                    table=labels.place,
                    address=ip_interface(network.address),
                    bridge=network.bridge,
                    is_masqueraded=True,
                    forwards=isolation.forwards,
                )
                self._run(*nft.load_argv(self._nft), stdin=nft.commands(wanted))
                self._settle()

    def mend(self, labels: Labels) -> None:
        """Let what a jail needs be forwarded again, if anything on the host changed that."""
        if not self._is_served(labels):
            with self._alone():
                self._settle()

    def take_away(self, labels: Labels, bridge: str) -> None:
        """Delete what there is of it, whatever made it; and the bridge, if we made it for us."""
        with self._alone():
            for family, name in sorted(self._tables()):
                if name == labels.place and self._nft is not None:
                    self._run(*nft.delete_argv(self._nft, family, name))
            self._settle()
            found = self.links().get(labels.interfaces.host_interface)
            # Without our alias it is a pair that a crash left half made, or a stranger's.
            if found is not None and found.alias in ("", labels.place):
                self._run(*ip.delete_argv(self._ip, found.name))
            if labels.place in ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip))):
                self._run(*ip.delete_namespace_argv(self._ip, labels.place))
            self._take_bridge_away(bridge)

    def is_whole(self, labels: Labels, bridge: str, *, has_table: bool) -> bool:
        """Whether everything is there and joined."""
        links = self.links()
        outer, joined = links.get(labels.interfaces.host_interface), links.get(bridge)
        is_joined = outer is not None and outer.master == bridge and outer.is_up
        is_carried = joined is not None and joined.is_up
        is_named = labels.place in ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip)))
        return (
            is_joined
            and is_carried
            and is_named
            and (not has_table or labels.place in {name for _, name in self._tables()})
            and self._is_served(labels)
        )

    def _is_served(self, labels: Labels) -> bool:
        return self._routing is None or self._routing.serves(labels.place)

    def _settle(self) -> None:
        if self._routing is not None:
            self._routing.settle()

    def _tables(self) -> frozenset[tuple[str, str]]:
        if self._nft is None:
            return frozenset()
        return nft.parse_tables(self._run(*nft.tables_argv(self._nft)))

    def _make_bridge(self, jail: str, network: Network) -> None:
        found = self.links().get(network.bridge)
        if found is None:
            mac = mac_of_bridge(network.bridge)
            self._run(*ip.add_bridge_argv(self._ip, network.bridge, mac))
        elif found.kind != "bridge":
            raise JailError(jail, f"{network.bridge} is there, and is no bridge", "name another")
        if network.gateway:
            length = ip_interface(network.address).network.prefixlen
            # As ip(8) writes it, so that it is known again.
            address = f"{ip_address(network.gateway)}/{length}"
            there = self._run(*ip.addresses_argv(self._ip, network.bridge))
            if address not in ip.parse_addresses(there):
                self._run(*ip.address_argv(self._ip, network.bridge, address))
        self._run(*ip.up_argv(self._ip, network.bridge))

    def _make_pair(self, jail: str, labels: Labels, network: Network) -> None:
        names = labels.interfaces
        if names.host_interface in self.links():
            what = f"the interface {names.host_interface} is somebody else's"
            raise JailError(jail, what, "give the jail another name")
        self._run(*ip.add_namespace_argv(self._ip, labels.place))
        outer = (names.host_interface, names.host_mac)
        inner = (names.jail_interface, names.jail_mac)
        self._run(*ip.add_pair_argv(self._ip, outer, inner, labels.place))
        self._run(*ip.alias_argv(self._ip, names.host_interface, labels.place))
        self._run(*ip.join_argv(self._ip, names.host_interface, network.bridge))
        inside = (names.jail_interface, network.address, network.gateway)
        for argv in ip.inside_argvs(self._ip, labels.place, *inside):
            self._run(*argv)

    def _take_bridge_away(self, bridge: str) -> None:
        links = self.links() if bridge else {}
        found = links.get(bridge)
        if found is None or found.mac != mac_of_bridge(bridge):
            return
        if not any(link.master == bridge for link in links.values()):
            self._run(*ip.delete_argv(self._ip, bridge))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked_directory(make_private_directory(_LOCK), self._clock, _BUSY_S):
            yield
