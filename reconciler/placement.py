"""Where the things of a jail lie: on this machine, and as the program in the jail sees them.

A runtime that keeps programs apart shows a node its own credentials and its own socket folder, and
an app the socket folder of its node, under fixed paths; without such a runtime a program uses the
machine's own paths. Pure: nothing here is looked up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jails.naming import derive_address
from jails.spec import Forward, Isolation, Network, NetworkKind, SharedFolder
from maculaos.addresses import Address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.ports.spec import PortSpec
    from reconciler.specs.spec import Listen

NODE_SOCKET: Final = "control.sock"
# As a program in a jail of its own sees them.
IDENTITY: Final = Path("/macula/identity")
SOCKETS: Final = Path("/macula/run")
RELEASE: Final = Path("/macula/release")
_LOOPBACK: Final = ("127.", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNetwork:
    """Each jail has a network stack of its own, joined to ``bridge``, with an address derived from
    its name in ``subnet``; ``uplink`` is the interface that the world reaches nodes by, if any.
    """

    bridge: str
    subnet: IPv4Network
    uplink: str = ""

    def address_of(self, jail: str) -> str:
        """The jail's address, the same on every machine."""
        return str(derive_address(jail, self.subnet))

    def clashes(self, jails: Iterable[str]) -> Mapping[str, str]:
        """By jail, why it cannot have its address: another of ``jails`` derives the same.

        Each of them is named, so that the answer does not depend on who came first.
        """
        holders: defaultdict[str, list[str]] = defaultdict(list)
        for jail in sorted(jails):
            holders[self.address_of(jail)].append(jail)
        return {
            jail: f"its address {address} is also that of"
            f" {', '.join(each for each in sharing if each != jail)};"
            " give it another name, or the machine a larger network.subnet"
            for address, sharing in holders.items()
            if len(sharing) > 1
            for jail in sharing
        }

    def contested(self, listens: Mapping[str, Listen]) -> Mapping[str, str]:
        """By jail, why nothing can be forwarded to it: another wants the same port of the uplink.

        Jails that listen on two addresses of the machine do not meet there, but the uplink
        forwards a port whatever the address.
        """
        wanting: defaultdict[Forward, list[str]] = defaultdict(list)
        for jail, listen in sorted(listens.items()):
            for forward in _forwards(self, listen):
                wanting[forward].append(jail)
        return {
            jail: f"port {forward.port} of {forward.interface} is also wanted by"
            f" {', '.join(each for each in jails if each != jail)}; give it another listen.port"
            for forward, jails in wanting.items()
            if len(jails) > 1
            for jail in jails
        }

    def network_of(self, jail: str) -> Network:
        """The jail's network; there is a way out only where there is an uplink."""
        return Network(
            kind=NetworkKind.VNET,
            bridge=self.bridge,
            address=f"{self.address_of(jail)}/{self.subnet.prefixlen}",
            gateway=str(self.subnet[1]) if self.uplink else "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How this machine keeps jails apart."""

    # False: a program sees the machine as it is.
    isolates: bool = False
    # None: all jails use the machine's network.
    own_network: OwnNetwork | None = None
    # By jail and by name, the ports of instances that share the machine's network.
    ports: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: MappingProxyType({}))

    def ports_of(self, jail: str, wanted: Sequence[PortSpec]) -> dict[str, int]:
        """By name, where that jail itself listens; a port that could not be had is left out.

        In a network of its own these are the ports as they are named.
        """
        if self.own_network is not None:
            return {each.name: each.port for each in wanted}
        held = self.ports.get(jail, {})
        return {each.name: held[each.name] for each in wanted if each.name in held}

    def seen_credentials(self, path: Path) -> Path:
        """The folder ``path`` of a node's credentials, as that node sees it."""
        return IDENTITY if self.isolates else path

    def seen_socket(self, path: Path) -> Path:
        """The control socket ``path`` of a node, as that node and its apps see it."""
        return SOCKETS / path.name if self.isolates else path

    def seen_release(self, path: Path) -> Path:
        """The folder ``path`` of an app's release, as that app sees it."""
        return RELEASE if self.isolates else path

    def obstacle(self, listen: Listen) -> str:
        """Why a node that listens there could not be reached; empty if it can."""
        if self.own_network is None or is_local(listen.address):
            return ""
        if self.own_network.uplink:
            return _obstacle_of_family(self.advertised(listen))
        return (
            f"it listens on {listen.address}, and nothing leads from there into its own network;"
            " name the interface in network.uplink of the reconciler's settings, or let it listen"
            " on 127.0.0.1"
        )

    def bound(self, jail: str, listen: Listen) -> str:
        """The address that the node in that jail binds."""
        return listen.address if self.own_network is None else self.own_network.address_of(jail)

    def advertised(self, listen: Listen) -> tuple[str, ...]:
        """What the node is to tell others to dial; empty: the address that it binds.

        In a network of its own that address means nothing to other machines, and what the spec
        says means nothing where no uplink leads in.
        """
        if self.own_network is None:
            return listen.advertise
        if is_local(listen.address):
            return ()
        return listen.advertise or (str(Address(listen.address, listen.port)),)

    def isolation(
        self, jail: str, mounts: Iterable[SharedFolder], listen: Listen | None = None
    ) -> Isolation:
        """What the jail is kept apart by; ``listen`` is where the world finds the node in it."""
        if not self.isolates:
            return Isolation()
        own = self.own_network
        return Isolation(
            mounts=tuple(mounts),
            network=Network() if own is None else own.network_of(jail),
            forwards=() if own is None else tuple(_forwards(own, listen)),
        )


def socket_path(run_dir: Path, node: str) -> Path:
    """The control socket of that node on the machine; its folder is shown to jails."""
    return run_dir / node / NODE_SOCKET


def is_local(address: str) -> bool:
    """Whether only this machine reaches what listens there."""
    return address.startswith(_LOOPBACK)


def _obstacle_of_family(advertised: Iterable[str]) -> str:
    """Own networks are of IPv4, and nothing translates."""
    if not all(":" in parse_address(each).host for each in advertised):
        return ""
    return (
        f"others are told to dial {', '.join(advertised)}, and only IPv4 leads into its own"
        " network; let it listen on, or advertise, an IPv4 address of this machine"
    )


def _forwards(own: OwnNetwork, listen: Listen | None) -> Iterable[Forward]:
    if listen is not None and own.uplink and not is_local(listen.address):
        yield Forward(interface=own.uplink, protocol="udp", port=listen.port)
