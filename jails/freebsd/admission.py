"""What the FreeBSD runtime refuses before anything starts: what it cannot say to jail(8) safely.

jail.conf and fstab have quotes, variables and blanks of their own; instead of escaping, only plain
text is let through. Environment and command are free: they go into a script, quoted.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from jails.freebsd.ifconfig import LONGEST_NAME
from jails.runtime import JailError
from jails.spec import Limits, NetworkKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jails.freebsd.abilities import Abilities
    from jails.spec import Forward, Hooks, Isolation, JailSpec, Network

_PATH = re.compile(r"/[A-Za-z0-9_.@:+=,/-]*")
_WORD = re.compile(r"[A-Za-z0-9_.@:+=,/-]+")
_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PROTOCOLS = ("udp", "tcp")
_MOST_PORT = 65535


def refuse_unsupported(spec: JailSpec, abilities: Abilities, addresses: Mapping[str, str]) -> None:
    """Raise ``JailError`` if ``spec`` cannot run here; changes nothing.

    ``addresses`` are those of other jails, by name.
    """
    if abilities.obstacle:
        raise JailError(spec.name, abilities.statement(), "take the runtime process")
    problems = [
        *_problems(spec),
        *_beyond(spec.isolation, abilities),
        *_taken(spec.isolation.network, addresses),
    ]
    if problems:
        raise JailError(spec.name, "; ".join(problems), "change its spec")


def is_plain_path(path: str) -> bool:
    """Whether an absolute path means the same in fstab, in jail.conf and to people."""
    return _PATH.fullmatch(path) is not None and ".." not in PurePosixPath(path).parts


def _problems(spec: JailSpec) -> Iterable[str]:
    isolation = spec.isolation
    if spec.secrets is not None:
        yield "secrets in its environment would be shown by ps(1) here"
    if isolation.user and not _USER.fullmatch(isolation.user):
        yield f"{isolation.user!r} is no name of an account"
    paths = [
        isolation.root.base,
        *(path for m in isolation.mounts for path in (m.source, m.target)),
    ]
    for path in paths:
        if not is_plain_path(path):
            yield f"{path!r} is no plain absolute path"
    yield from _network_problems(isolation.network)
    yield from _forward_problems(isolation.forwards, isolation.network)
    yield from _limit_problems(isolation.limits)
    yield from _hook_problems(isolation.hooks)


def _beyond(isolation: Isolation, abilities: Abilities) -> Iterable[str]:
    """What the machine has nothing for."""
    network = isolation.network
    is_vnet = network.kind is NetworkKind.VNET
    if is_vnet and not abilities.has_network:
        yield "a network of its own needs a kernel with VIMAGE"
    if isolation.limits != Limits() and not abilities.has_limits:
        yield "limits need kern.racct.enable=1 in /boot/loader.conf"
    wishes = {"forwards": bool(isolation.forwards), "a way out": is_vnet and bool(network.gateway)}
    asked = " and ".join(wish for wish, is_asked in wishes.items() if is_asked)
    if asked and not abilities.has_firewall:
        yield f"for {asked} pf must be loaded and enabled"


def _network_problems(network: Network) -> Iterable[str]:
    kind = network.kind
    if kind is NetworkKind.HOST:
        return
    if not _is_address(network.address):
        yield f"{network.address!r} is no address with a length, such as 10.77.0.11/24"
    if network.gateway and not _is_plain_address(network.gateway):
        yield f"{network.gateway!r} is no address of a gateway"
    interface = network.bridge if kind is NetworkKind.VNET else network.interface
    if not _is_interface(interface):
        what = "bridge" if kind is NetworkKind.VNET else "interface"
        yield f"{interface!r} is no name of a {what}"


def _forward_problems(forwards: tuple[Forward, ...], network: Network) -> Iterable[str]:
    if forwards and network.kind is NetworkKind.HOST:
        yield "ports cannot be forwarded to a jail that has no address of its own"
    for each in forwards:
        ports = (each.port, each.port if each.inner_port is None else each.inner_port)
        is_sound = each.protocol in _PROTOCOLS and all(0 < port <= _MOST_PORT for port in ports)
        if not is_sound or not _is_interface(each.interface):
            yield f"port {each.protocol} {each.port} on {each.interface!r} cannot be forwarded"


def _limit_problems(limits: Limits) -> Iterable[str]:
    amounts = (limits.memory_bytes, limits.processes, limits.open_files, limits.cpu_percent)
    if any(amount is not None and amount <= 0 for amount in amounts):
        yield "a limit must be more than nothing"


def _hook_problems(hooks: Hooks) -> Iterable[str]:
    for command in (*hooks.prepare, *hooks.release):
        if not command or not all(_WORD.fullmatch(word) for word in command):
            yield f"the hook {' '.join(command)!r} needs plain words without blanks or quotes"


def _taken(network: Network, addresses: Mapping[str, str]) -> Iterable[str]:
    if network.kind is NetworkKind.HOST or not _is_address(network.address):
        return
    wanted = IPv4Interface(network.address).ip
    for jail, address in sorted(addresses.items()):
        if _is_address(address) and IPv4Interface(address).ip == wanted:
            yield f"the address {wanted} is that of the jail {jail}"


def _is_interface(name: str) -> bool:
    return len(name) <= LONGEST_NAME and _INTERFACE.fullmatch(name) is not None


def _is_address(text: str) -> bool:
    try:
        IPv4Interface(text)
    except ValueError:
        return False
    return "/" in text


def _is_plain_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
