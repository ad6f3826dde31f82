"""What the namespace runtime refuses before anything starts, all of it in one message. Pure."""

from __future__ import annotations

import re
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from jails.namespaces import limits
from jails.namespaces.ip import LONGEST_NAME
from jails.runtime import JailError
from jails.spec import HookKind, NetworkKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jails.namespaces.abilities import Abilities
    from jails.spec import Forward, Isolation, JailSpec, Network, ProgramHooks

_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
# The kernel keeps settings of all interfaces, and of those to come, under these names.
_NO_INTERFACES = ("all", "default")
_EXAMPLES = "10.77.0.11/24 or fd00:77::11/64"
_PROTOCOLS = ("tcp", "udp")
_MOST_PORT = 65535


def refuse_unsupported(
    spec: JailSpec, abilities: Abilities, addresses: Mapping[str, tuple[str, str]]
) -> None:
    """Raise ``JailError`` if ``spec`` cannot run here; changes nothing.

    ``addresses`` are bridge and address of the other jails, by name.
    """
    if abilities.obstacle:
        raise JailError(spec.name, abilities.statement(), "take the runtime process")
    problems = [
        *_root_problems(spec.isolation),
        *_network_problems(spec.isolation.network, abilities),
        *_forward_problems(spec.isolation, abilities),
        *_user_problems(spec.isolation, abilities),
        *_limit_problems(spec.isolation, abilities),
        *_taken(spec, addresses),
        *_hook_problems(spec.hooks, abilities),
    ]
    if problems:
        raise JailError(spec.name, "; ".join(problems), "change its spec")


def _hook_problems(hooks: ProgramHooks, abilities: Abilities) -> Iterator[str]:
    if not abilities.is_root and any(map(hooks.command, HookKind)):
        yield "only root can run hooks inside a jail"


def _root_problems(isolation: Isolation) -> Iterator[str]:
    targets = [PurePosixPath(mount.target) for mount in isolation.mounts]
    paths = [isolation.root.base, *(mount.source for mount in isolation.mounts), *map(str, targets)]
    for path in paths:
        if not path.startswith("/") or ".." in PurePosixPath(path).parts or "\0" in path:
            yield f"{path!r} is no absolute path without .."
    if len(set(targets)) < len(targets) or PurePosixPath("/") in targets:
        yield "two mounts have one target, or one has the root folder as its target"


def _network_problems(network: Network, abilities: Abilities) -> Iterator[str]:
    if network.kind is NetworkKind.HOST:
        return
    if network.kind is NetworkKind.SHARED:
        yield "a shared address would not keep it apart on Linux: take vnet or host"
        return
    if not abilities.has_network:
        yield "a network of its own needs root, and iproute2"
    if not is_interface(network.bridge):
        yield f"{network.bridge!r} is no name of a bridge, at most {LONGEST_NAME} characters"
    here = _interface(network.address)
    if here is None:
        yield f"{network.address!r} is no address with a length, such as {_EXAMPLES}"
    elif network.gateway:
        yield from _gateway_problems(network.gateway, here, abilities)


def _gateway_problems(
    gateway: str, here: IPv4Interface | IPv6Interface, abilities: Abilities
) -> Iterator[str]:
    if not abilities.has_firewall:
        yield "a way out needs nftables"
    try:
        address = ip_address(gateway)
        is_near = address in here.network and address != here.ip and "%" not in gateway
    except ValueError:
        is_near = False
    if not is_near:
        yield f"the gateway {gateway!r} is no other address in {here.network}"


def _forward_problems(isolation: Isolation, abilities: Abilities) -> Iterator[str]:
    forwards, network = isolation.forwards, isolation.network
    if forwards and network.kind is not NetworkKind.VNET:
        yield "ports can only be forwarded to a jail with a network of its own"
    if forwards and network.kind is NetworkKind.VNET and not network.gateway:
        yield "what is forwarded needs a gateway for its answers"
    if forwards and not abilities.has_firewall:
        yield "forwards need root, and nftables"
    for each in forwards:
        if not _is_forward(each):
            yield f"port {each.protocol} {each.port} on {each.interface!r} cannot be forwarded"
    asked = [(each.interface, each.protocol, each.port) for each in forwards]
    if len(set(asked)) < len(asked):
        yield "one port is forwarded twice"


def _user_problems(isolation: Isolation, abilities: Abilities) -> Iterator[str]:
    if isolation.user and not (abilities.is_root and "setpriv" in abilities.tools):
        yield "an account of its own needs root, and setpriv"


def _limit_problems(isolation: Isolation, abilities: Abilities) -> Iterator[str]:
    wanted = isolation.limits
    amounts = (wanted.memory_bytes, wanted.processes, wanted.open_files, wanted.cpu_percent)
    if any(amount is not None and amount <= 0 for amount in amounts):
        yield "a limit must be more than nothing"
    yield from limits.out_of_reach(wanted, abilities.controllers)
    is_bounded = limits.prlimit_argv("prlimit", wanted, abilities.controllers)
    if is_bounded and "prlimit" not in abilities.tools:
        yield "limits need prlimit"


def _taken(spec: JailSpec, addresses: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    network = spec.isolation.network
    here = _interface(network.address) if network.kind is NetworkKind.VNET else None
    for jail, (bridge, address) in sorted(addresses.items()):
        other = _interface(address)
        is_same = here is not None and other is not None and other.ip == here.ip
        if is_same and jail != spec.name and bridge == network.bridge:
            yield f"the address {network.address} is that of the jail {jail}"


def is_interface(name: str) -> bool:
    """Whether ``name`` can be an interface's."""
    is_short = len(name) <= LONGEST_NAME and name not in _NO_INTERFACES
    return is_short and _INTERFACE.fullmatch(name) is not None


def _is_forward(forward: Forward) -> bool:
    inner = forward.port if forward.inner_port is None else forward.inner_port
    are_ports = all(0 < port <= _MOST_PORT for port in (forward.port, inner))
    return are_ports and forward.protocol in _PROTOCOLS and is_interface(forward.interface)


def _interface(text: str) -> IPv4Interface | IPv6Interface | None:
    """None also for an address that means another thing on every interface, or no single one."""
    try:
        found = ip_interface(text)
    except ValueError:
        return None
    address = found.ip
    is_special = address.is_link_local or address.is_loopback or address.is_multicast
    is_whole = "/" in text and "%" not in text and not address.is_unspecified
    return found if is_whole and not is_special else None
