"""The network of one jail, made before the jail: its epair and bridge, limits and translations.

Everything is made in an order in which a crash leaves only what ``Kernel.clear`` finds: the number
of an epair is on record before it is asked for, until both its ends have our names.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, Any

from jails.freebsd import ifconfig, netstat, pfctl, rctl, sysctl
from jails.freebsd.unreadable import UnreadableAnswer
from jails.naming import derive, mac_of_bridge
from jails.runtime import JailError
from jails.spec import NetworkKind
from maculaos.host.commands import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jails.freebsd.kernel import Kernel
    from jails.freebsd.place import Place
    from jails.naming import Names
    from jails.spec import JailSpec, Network
    from maculaos.host.commands import CommandRunner

# The kernel numbers epairs from 0 up to this.
_MOST_EPAIR = 0x7FFF
_TRIES = 64
# What ifconfig(8) makes a bridge of.
_NUMBERED = re.compile(r"bridge[0-9]{1,5}")
_FORWARDING = "net.inet.ip.forwarding"
_OFFLOAD = frozenset({"TXCSUM", "TXCSUM_IPV6"})


class NetworkMaker:
    """Makes and repairs what a jail needs outside of itself."""

    def __init__(self, runner: CommandRunner, kernel: Kernel) -> None:
        self._run = runner.run
        self._kernel = kernel

    def make(self, spec: JailSpec, place: Place) -> None:
        """Interfaces, then limits and translations; raises ``JailError`` or ``CommandFailed``."""
        network = spec.isolation.network
        if network.kind is NetworkKind.VNET:
            self._make_bridge(place, network)
            self._make_epair(place)
            self._join(place, network.bridge)
        elif network.kind is NetworkKind.SHARED:
            self._make_loopback(spec.name, network.interface)
        self.make_rules(spec, place)

    def make_rules(self, spec: JailSpec, place: Place) -> None:
        """Set limits and translations where they are not already as they should be."""
        wanted = set(_rules(spec, place.kernel_name))
        if wanted:
            found = rctl.parse_rules(self._run(*rctl.list_argv()))
            for rule in sorted(wanted - set(found), key=lambda each: each.text()):
                self._run(*rctl.add_argv(rule))
        network = spec.isolation.network
        translations = (*self._way_out(network), *_redirects(spec))
        if translations and network.kind is NetworkKind.VNET:
            self._forward_packets()
        if translations and self._translations(spec.name) != translations:
            self._run(*pfctl.load_argv(spec.name), stdin=pfctl.rules_text(translations))

    def traffic(self, place: Place) -> netstat.Traffic | None:
        """What the jail received and sent; None if it has no interface of its own."""
        name = derive(place.name).host_interface
        if name not in self._kernel.interfaces():
            return None
        seen = netstat.parse_traffic(self._run(*netstat.traffic_argv(name)))
        # What the host's end received is what the jail's end sent.
        return seen and netstat.Traffic(received=seen.sent, sent=seen.received)

    def _way_out(self, network: Network) -> tuple[pfctl.Rule, ...]:
        """Address translation for a jail with a gateway, where the machine has a way out itself."""
        if network.kind is not NetworkKind.VNET or not network.gateway:
            return ()
        routes = netstat.parse_routes(self._run(*netstat.routes_argv()))
        interface = netstat.default_interface(routes)
        # Without one there is nowhere to go yet; the next look at the jail sets the rules.
        return pfctl.way_out(interface, IPv4Interface(network.address).ip) if interface else ()

    def _forward_packets(self) -> None:
        """Let the machine pass on packets that are not for itself."""
        if self._run(*sysctl.value_argv(_FORWARDING)).strip() != "1":
            self._run(*sysctl.set_argv(_FORWARDING, 1))

    def _translations(self, jail: str) -> tuple[pfctl.Rule, ...] | None:
        """The rules in the jail's anchor; None for what we never loaded."""
        try:
            return pfctl.parse_rules(self._run(*pfctl.list_argv(jail)))
        except UnreadableAnswer:
            return None

    def _make_bridge(self, place: Place, network: Network) -> None:
        found = self._kernel.interfaces().get(network.bridge)
        if found is None:
            # Any other name would have to be given afterwards, and a crash could come between.
            if _NUMBERED.fullmatch(network.bridge) is None:
                hint = "make it, or name it bridge and a number to have it made"
                raise JailError(place.name, f"there is no bridge {network.bridge}", hint)
            _put_on_record(place, bridge=network.bridge)
            self._run(*ifconfig.create_argv(network.bridge))
            self._run(*ifconfig.ether_argv(network.bridge, mac_of_bridge(network.bridge)))
            _put_on_record(place, bridge="")
        addresses = found.addresses if found else ()
        length = IPv4Interface(network.address).network.prefixlen
        wanted = IPv4Interface(f"{network.gateway}/{length}") if network.gateway else None
        if wanted is not None and wanted not in addresses:
            # Beside what somebody else may have set there.
            argv = ifconfig.alias_argv if addresses else ifconfig.address_argv
            self._run(*argv(network.bridge, wanted))
        elif found is None or not found.is_up:
            self._run(*ifconfig.up_argv(network.bridge))

    def _make_epair(self, place: Place) -> None:
        names = derive(place.name)
        pair = self._create_epair(place, names)
        ends = (names.host_interface, names.jail_interface)
        for born, name in zip((f"{pair}a", f"{pair}b"), ends, strict=True):
            self._run(*ifconfig.rename_argv(born, name))
        _put_on_record(place, epair=None)
        for name, mac in zip(ends, (names.host_mac, names.jail_mac), strict=True):
            self._run(*ifconfig.ether_argv(name, mac))
            # Members of a bridge must agree on what they offload, so nothing is offloaded.
            if _OFFLOAD & self._kernel.interfaces()[name].options:
                self._run(*ifconfig.plain_argv(name))

    def _create_epair(self, place: Place, names: Names) -> str:
        """An epair under a free number, which is on record first; its name without an end."""
        first = int(names.host_interface[2:-1], 16)
        refused: CommandFailed | None = None
        for number in ((first + n) % (_MOST_EPAIR + 1) for n in range(_TRIES)):
            pair = f"epair{number}"
            if {f"{pair}a", f"{pair}b"} & self._kernel.interfaces().keys():
                continue
            _put_on_record(place, epair=number)
            try:
                self._run(*ifconfig.create_argv(pair))
            except CommandFailed as failed:
                refused = failed
                continue
            return pair
        why = refused.stderr.strip() if refused else "the numbers are taken"
        raise JailError(place.name, f"no epair can be made: {why}")

    def _join(self, place: Place, bridge: str) -> None:
        name = derive(place.name).host_interface
        if name not in self._kernel.interfaces()[bridge].members:
            self._run(*ifconfig.add_member_argv(bridge, name))
        self._run(*ifconfig.up_argv(name))

    def _make_loopback(self, jail: str, interface: str) -> None:
        if interface in self._kernel.interfaces():
            return
        if not interface.startswith("lo"):
            raise JailError(jail, f"there is no interface {interface}", "name one that there is")
        self._run(*ifconfig.create_argv(interface))


def _put_on_record(place: Place, **begun: Any) -> None:
    record = place.record()
    if record is not None:
        place.write_record(replace(record, **begun))


def _rules(spec: JailSpec, jail: str) -> Iterable[rctl.Rule]:
    limits = spec.isolation.limits
    amounts = {
        "memoryuse": limits.memory_bytes,
        "maxproc": limits.processes,
        "openfiles": limits.open_files,
        "pcpu": limits.cpu_percent,
    }
    for resource, amount in amounts.items():
        if amount is not None:
            yield rctl.Rule(jail=jail, resource=resource, amount=amount)


def _redirects(spec: JailSpec) -> tuple[pfctl.Redirect, ...]:
    address = spec.isolation.network.address
    return tuple(
        pfctl.Redirect(
            interface=each.interface,
            protocol=each.protocol,
            port=each.port,
            address=IPv4Interface(address).ip,
            inner_port=each.inner_port,
        )
        for each in spec.isolation.forwards
    )
