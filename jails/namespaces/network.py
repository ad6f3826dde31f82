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
from jails.spec import Network, NetworkKind
from maculaos.host.files import make_private_directory
from maculaos.host.locks import locked_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jails.namespaces.abilities import Abilities
    from jails.namespaces.naming import Labels
    from jails.spec import Forward
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

    def make(
        self, jail: str, labels: Labels, network: Network, forwards: tuple[Forward, ...]
    ) -> None:
        """Make all of it; nothing of it is there. Raises ``JailError`` or ``CommandFailed``."""
        with self._alone():
            self._refuse_taken(jail, labels, network)
            self._refuse_forwarded(jail, labels, forwards)
            self._make_bridge(jail, network)
            self._make_pair(jail, labels, network)
            self._make_table(labels, network, forwards)

    def mend(
        self, jail: str, labels: Labels, network: Network, forwards: tuple[Forward, ...]
    ) -> None:
        """Make again what joins a jail to the host, while its program runs.

        Its end of the pair holds all that is set inside: where that is gone, it stays damaged.
        """
        if self.is_whole(labels, network):
            return
        with self._alone():
            outer = self.links().get(labels.interfaces.host_interface)
            if outer is None or outer.alias != labels.place:
                return
            self._make_bridge(jail, network)
            self._run(*ip.join_argv(self._ip, outer.name, network.bridge))
            self._make_table(labels, network, forwards)

    def take_away(self, labels: Labels, network: Network) -> None:
        """Delete what there is of it, whatever made it; and the bridge, if we made it for us."""
        with self._alone():
            for family, name in sorted(self._tables()):
                if name == labels.place and self._nft is not None:
                    self._run(*nft.delete_argv(self._nft, family, name))
            self._settle()
            found = self.links().get(labels.interfaces.host_interface)
            # Without our alias it is a pair that a crash left half made, or a stranger's.
            bridges = {network.bridge: network}
            if found is not None and found.alias in ("", labels.place):
                # Where no record says which bridge it was, our end of the pair does.
                joined = Network(kind=NetworkKind.VNET, bridge=found.master)
                bridges.setdefault(found.master, joined)
                self._run(*ip.delete_argv(self._ip, found.name))
            if labels.place in ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip))):
                self._run(*ip.delete_namespace_argv(self._ip, labels.place))
            for each in bridges.values():
                self._take_bridge_away(each)

    def is_whole(self, labels: Labels, network: Network) -> bool:
        """Whether everything is there and joined."""
        links = self.links()
        outer, joined = links.get(labels.interfaces.host_interface), links.get(network.bridge)
        is_joined = outer is not None and outer.master == network.bridge and outer.is_up
        is_carried = joined is not None and joined.is_up
        is_led_out = not network.gateway or (
            joined is not None
            and _gateway(network) in joined.addresses
            and labels.place in {name for _, name in self._tables()}
        )
        is_named = labels.place in ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip)))
        return is_joined and is_carried and is_led_out and is_named and self._is_served(labels)

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
        is_there = found is not None and _gateway(network) in found.addresses
        if network.gateway and not is_there:
            address = _gateway(network)
            self._run(*ip.address_argv(self._ip, network.bridge, address))
        self._run(*ip.up_argv(self._ip, network.bridge))

    def _make_table(self, labels: Labels, network: Network, forwards: tuple[Forward, ...]) -> None:
        if not network.gateway or self._nft is None:
            return
        wanted = nft.Ruleset(
            table=labels.place,
            address=ip_interface(network.address),
            bridge=network.bridge,
            is_masqueraded=True,
            forwards=forwards,
        )
        self._run(*nft.load_argv(self._nft), stdin=nft.commands(wanted))
        self._settle()

    def _refuse_taken(self, jail: str, labels: Labels, network: Network) -> None:
        """Raise ``JailError`` if a jail under another root has the address, on the same bridge.

        Those under the same root are known by their records, before anything is touched.
        """
        ours = labels.place.removesuffix(jail)
        places = set(ip.parse_namespaces(self._run(*ip.namespaces_argv(self._ip))))
        for link in self.links().values():
            is_other = link.alias in places and not link.alias.startswith(ours)
            if link.master != network.bridge or not is_other:
                continue
            inside = ip.parse_links(self._run(*ip.links_within_argv(self._ip, link.alias)))
            if any(
                _is_same(each, network.address) for i in inside.values() for each in i.addresses
            ):
                what = f"the address {network.address} is that of {link.alias} on {network.bridge}"
                raise JailError(jail, what, "use another bridge, or other addresses")

    def _refuse_forwarded(self, jail: str, labels: Labels, forwards: tuple[Forward, ...]) -> None:
        """Raise ``JailError`` if a port is forwarded to a jail under another root already."""
        if not forwards or self._nft is None:
            return
        ours = labels.place.removesuffix(jail)
        wanted = set(map(nft.port_words, forwards))
        for each in nft.parse_sets(self._run(*nft.sets_argv(self._nft))):
            is_other = each.table.startswith("macula-") and not each.table.startswith(ours)
            taken = sorted(wanted & each.words) if is_other and each.name == nft.PORTS else []
            for interface, protocol, port in taken:
                what = f"{protocol} port {port} of {interface} is forwarded to {each.table}"
                raise JailError(jail, what, "take another port")

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

    def _take_bridge_away(self, network: Network) -> None:
        links = self.links() if network.bridge else {}
        found = links.get(network.bridge)
        if found is None or found.mac != mac_of_bridge(network.bridge):
            return
        if not any(link.master == network.bridge for link in links.values()):
            self._run(*ip.delete_argv(self._ip, network.bridge))
        elif network.gateway and _gateway(network) in found.addresses:
            self._take_gateway_away(network)

    def _take_gateway_away(self, network: Network) -> None:
        """Unless a jail that has a way out is still in that part of the network."""
        served = nft.parse_sets(self._run(*nft.sets_argv(self._nft))) if self._nft else ()
        near = ip_interface(network.address).network
        pairs = (words for each in served if each.name == nft.JAILS for words in each.words)
        if not any(bridge == network.bridge and ip_address(a) in near for bridge, a in pairs):
            self._run(*ip.drop_address_argv(self._ip, network.bridge, _gateway(network)))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with locked_directory(make_private_directory(_LOCK), self._clock, _BUSY_S):
            yield


def _gateway(network: Network) -> str:
    """The address of the bridge, as ip(8) writes it, so that it is known again; or nothing."""
    if not network.gateway:
        return ""
    return f"{ip_address(network.gateway)}/{ip_interface(network.address).network.prefixlen}"


def _is_same(one: str, other: str) -> bool:
    return ip_interface(one).ip == ip_interface(other).ip
