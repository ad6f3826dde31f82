"""The network interfaces of the model, in one stack for the machine and one per jail that has it.

State and printing; the commands that change it are in ``jails.freebsd.model.ifconfig``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from ipaddress import IPv4Interface

# The bits that ifconfig(8) prints, in its order.
_FLAGS = {
    "UP": 0x1,
    "BROADCAST": 0x2,
    "LOOPBACK": 0x8,
    "RUNNING": 0x40,
    "PROMISC": 0x100,
    "SIMPLEX": 0x800,
    "MULTICAST": 0x8000,
}
# A bit without a name, which drivers of packets set (IFF_KNOWSEPOCH).
_UNNAMED = 0x20
_OPTIONS = {
    "RXCSUM": 0x1,
    "TXCSUM": 0x2,
    "VLAN_MTU": 0x8,
    "JUMBO_MTU": 0x20,
    "LINKSTATE": 0x80000,
    "RXCSUM_IPV6": 0x200000,
    "TXCSUM_IPV6": 0x400000,
}
_OPTIONS_OF = {
    "vtnet": ("VLAN_MTU", "JUMBO_MTU", "LINKSTATE"),
    "lo": ("RXCSUM", "TXCSUM", "LINKSTATE", "RXCSUM_IPV6", "TXCSUM_IPV6"),
    "epair": ("VLAN_MTU",),
    "bridge": (),
}
_ND6 = {
    "vtnet": "29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>",
    "epair": "29<PERFORMNUD,IFDISABLED,AUTO_LINKLOCAL>",
    "lo": "21<PERFORMNUD,AUTO_LINKLOCAL>",
    "bridge": "9<PERFORMNUD,IFDISABLED>",
}
_MEDIA = {
    "vtnet": "Ethernet autoselect (10Gbase-T <full-duplex>)",
    "epair": "Ethernet 10Gbase-T (10Gbase-T <full-duplex>)",
}


@dataclass(slots=True, kw_only=True, eq=False)
class Interface:
    """One interface; ``kind`` is the name of its driver."""

    name: str
    kind: str
    # The name it was made with; its number stays taken under any other name.
    born_name: str = ""
    is_up: bool = False
    ether: str | None = None
    # The address it was born with, once it has another.
    born_ether: str | None = None
    addresses: list[IPv4Interface] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    members: list[Interface] = field(default_factory=list)
    # Of an epair: the other end.
    peer: Interface | None = None
    was_up: bool = False
    # What went through it; set by the test, because no packet moves in the model.
    received_bytes: int = 0
    sent_bytes: int = 0

    def switch_on(self) -> None:
        """Up; some things stay changed afterwards."""
        self.is_up = self.was_up = True


class Stack:
    """The interfaces of one network stack, in the order in which they came."""

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []
        self._indexes: dict[str, int] = {}

    def find(self, name: str) -> Interface | None:
        """The interface of that name."""
        return next((each for each in self.interfaces if each.name == name), None)

    def add(self, interface: Interface) -> None:
        """Put an interface here, under the lowest free number."""
        self.interfaces.append(interface)
        taken = set(self._indexes.values())
        self._indexes[interface.name] = next(n for n in range(1, 10_000) if n not in taken)

    def take(self, interface: Interface) -> None:
        """Take an interface out; bridges forget it."""
        self.interfaces.remove(interface)
        del self._indexes[interface.name]
        for each in self.interfaces:
            if interface in each.members:
                each.members.remove(interface)

    def rename(self, interface: Interface, name: str) -> None:
        """Another name, the same number."""
        self._indexes[name] = self._indexes.pop(interface.name)
        interface.name = name

    def bridge_of(self, member: Interface) -> Interface | None:
        """The bridge that joins it."""
        return next((each for each in self.interfaces if member in each.members), None)

    def traffic(self, name: str) -> list[dict[str, str | int]]:
        """What netstat(1) counts of an interface: a row for all of it, then one per address."""
        found = self.find(name)
        if found is None:
            return []
        everything: dict[str, str | int] = {
            "name": name,
            "network": f"<Link#{self._indexes[name]}>",
            "address": found.ether or name,
            "received-bytes": found.received_bytes,
            "sent-bytes": found.sent_bytes,
        }
        of_addresses: list[dict[str, str | int]] = [
            {"name": name, "network": str(each.network), "address": str(each.ip)}
            for each in found.addresses
        ]
        return [everything, *of_addresses]

    def text(self, interface: Interface, *, is_cidr: bool = False) -> str:
        """The interface as ifconfig(8) prints it."""
        index = self._indexes[interface.name]
        lines = [self._header(interface), *_hardware(interface)]
        lines += _loopback6(interface, index)
        lines += [_inet(each, interface, is_cidr=is_cidr) for each in interface.addresses]
        lines += self._bridge(interface)
        if interface.kind != "vtnet":
            lines.append(f"groups: {interface.kind}")
        if interface.kind in _MEDIA:
            lines += [f"media: {_MEDIA[interface.kind]}", "status: active"]
        lines.append(f"nd6 options={_ND6[interface.kind]}")
        return lines[0] + "".join(f"\n\t{line}" for line in lines[1:]) + "\n"

    def _header(self, interface: Interface) -> str:
        mtu = 16384 if interface.kind == "lo" else 1500
        words = self._flags(interface)
        number = sum(_FLAGS[word] for word in words)
        number += _UNNAMED if interface.kind in _MEDIA else 0
        return f"{interface.name}: flags={number:x}<{','.join(words)}> metric 0 mtu {mtu}"

    def _flags(self, interface: Interface) -> list[str]:
        is_loop = interface.kind == "lo"
        is_running = interface.kind in ("epair", "vtnet") or interface.is_up
        has = {
            "UP": interface.is_up,
            "BROADCAST": not is_loop,
            "LOOPBACK": is_loop,
            "RUNNING": is_running,
            "PROMISC": self.bridge_of(interface) is not None,
            "SIMPLEX": not is_loop,
            "MULTICAST": True,
        }
        return [word for word in _FLAGS if has[word]]

    def _bridge(self, interface: Interface) -> list[str]:
        if interface.kind != "bridge":
            return []
        priority = 32768 if interface.was_up else 0
        zero = "00:00:00:00:00:00"
        return [
            f"id {zero} priority 32768 hellotime 2 fwddelay 15",
            "maxage 20 holdcnt 6 proto rstp maxaddr 2000 timeout 1200",
            f"root id {zero} priority {priority} ifcost 0 port 0",
            *(self._member(each) for each in interface.members),
        ]

    def _member(self, member: Interface) -> str:
        port = self._indexes[member.name]
        return (
            f"member: {member.name} flags=143<LEARNING,DISCOVER,AUTOEDGE,AUTOPTP>\n"
            f"\t        ifmaxaddr 0 port {port} priority 128 path cost 2000"
        )


def new_interface(name: str, kind: str) -> Interface:
    """A fresh interface that is down; epairs and bridges have a hardware address of their own."""
    octets = hashlib.sha256(name.encode()).hexdigest()
    ends = {"a": "0a", "b": "0b"}
    ether = None
    if kind == "bridge":
        ether = f"58:9c:fc:10:{octets[:2]}:{octets[2:4]}"
    elif kind == "epair":
        # Both ends share all octets but the last.
        octets = hashlib.sha256(name[:-1].encode()).hexdigest()
        middle = ":".join(octets[n : n + 2] for n in range(0, 8, 2))
        ether = f"02:{middle}:{ends[name[-1]]}"
    return Interface(
        name=name, kind=kind, born_name=name, ether=ether, options=list(_OPTIONS_OF[kind])
    )


def _hardware(interface: Interface) -> list[str]:
    lines = []
    if interface.options:
        words = [word for word in _OPTIONS if word in interface.options]
        lines.append(f"options={sum(_OPTIONS[word] for word in words):x}<{','.join(words)}>")
    if interface.ether is not None:
        lines.append(f"ether {interface.ether}")
    if interface.born_ether is not None:
        lines.append(f"hwaddr {interface.born_ether}")
    return lines


def _loopback6(interface: Interface, index: int) -> list[str]:
    if interface.kind != "lo" or not interface.was_up:
        return []
    first = ["inet6 ::1 prefixlen 128"] if interface.name == "lo0" else []
    return [*first, f"inet6 fe80::1%{interface.name} prefixlen 64 scopeid 0x{index:x}"]


def _inet(address: IPv4Interface, interface: Interface, *, is_cidr: bool) -> str:
    tail = "" if interface.kind == "lo" else f" broadcast {address.network.broadcast_address}"
    if is_cidr:
        return f"inet {address}{tail}"
    return f"inet {address.ip} netmask 0x{int(address.netmask):08x}{tail}"
