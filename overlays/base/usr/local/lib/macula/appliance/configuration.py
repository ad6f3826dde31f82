"""The files of /etc that differ from machine to machine, made from a seed. Pure.

/etc lies in memory, so all of them are made anew at every start; nothing of them is kept. A file
whose content is None must not be there. Each names the service that has to be restarted when it
changes while the machine runs. Values come from ``appliance.seed``, whose forms leave nothing that
could be read as more than a value.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from ipaddress import IPv6Interface
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from appliance.seed import NetworkSeed, RepositorySeed, Seed

RECONCILER_SETTINGS: Final = "/etc/macula/reconciler.yaml"
ALLOWED_SIGNERS: Final = "/etc/macula/allowed_signers"
# As /etc/pf.conf has them.
BRIDGE: Final = "bridge77"
SUBNET: Final = "10.77.0.0/16"
DEFAULT_PORTS: Final = (4433,)
DEFAULT_SERVERS: Final = ("pool 0.freebsd.pool.ntp.org", "pool 2.freebsd.pool.ntp.org")
# Ethernet interfaces that are made by software; a seed for them would make no sense.
_SOFT: Final = re.compile(
    r"(lo|bridge|epair|tap|tun|wg|vlan|lagg|gif|gre|pflog|pfsync|enc|usbus)\d+"
)
_DRIVER: Final = re.compile(r"[a-z]{1,12}[0-9]{1,4}")
_HEAD: Final = "# Made at each start from /cfg/seed.toml: change that, not this.\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file as it should be; ``content`` None: it should not be."""

    path: str
    content: bytes | None
    mode: int = 0o644
    # What reads it: a name for service(8), or nothing if it is read anew each time.
    service: str = ""


def ethernet(names: Iterable[str]) -> tuple[str, ...]:
    """The interfaces that a cable can be plugged into, in the order the kernel lists them."""
    return tuple(
        name for name in names if _DRIVER.fullmatch(name) and _SOFT.fullmatch(name) is None
    )


def files(seed: Seed | None, name: str, interfaces: tuple[str, ...]) -> tuple[File, ...]:
    """Every file of this machine; without a seed those that make it wait for one.

    ``name`` is the host name if the seed has none; ``interfaces`` as of ``ethernet``.
    """
    return tuple(_files(seed, name, interfaces))


def uplink(seed: Seed | None, interfaces: tuple[str, ...]) -> str:
    """The interface to the world: the seed's, or the first; empty if there is none."""
    named = seed.network.interface if seed else None
    return named or next(iter(interfaces), "")


def _files(seed: Seed | None, name: str, interfaces: tuple[str, ...]) -> Iterator[File]:
    hostname = seed.hostname if seed and seed.hostname else name
    yield _rc("hostname", f'hostname="{hostname}"\n')
    yield _rc("network", _interfaces(seed, interfaces), service="netif")
    yield _rc("routing", _routes(seed))
    yield from _resolver(seed.network if seed else None)
    yield _ssh_keys(seed)
    yield _known_hosts(seed)
    yield _ports(seed)
    yield _servers(seed)
    yield from _log(seed)
    yield from _reconciler(seed, uplink(seed, interfaces))


def _rc(name: str, text: str, *, service: str | None = None) -> File:
    """Settings of one rc.d script, which rc.subr(8) reads just before it runs."""
    return File(
        path=f"/etc/rc.conf.d/{name}",
        content=(_HEAD + text).encode(),
        service=name if service is None else service,
    )


def _interfaces(seed: Seed | None, interfaces: tuple[str, ...]) -> str:
    network = seed.network if seed else None
    if network is None or network.mode == "dhcp":
        named = network.interface if network else None
        asking = (named,) if named else interfaces
        # Services start after the lease is there: SYNCDHCP.
        return "".join(f'ifconfig_{each}="SYNCDHCP"\n' for each in asking)
    name = uplink(seed, interfaces)
    text = f'ifconfig_{name}="inet {network.address}"\n' if network.address and name else ""
    if network.address6 and name:
        address = IPv6Interface(network.address6)
        length = address.network.prefixlen
        text += f'ifconfig_{name}_ipv6="inet6 {address.ip} prefixlen {length}"\n'
    return text


def _routes(seed: Seed | None) -> str:
    network = seed.network if seed else None
    text = ""
    if network and network.gateway:
        text += f'defaultrouter="{network.gateway}"\n'
    if network and network.gateway6:
        text += f'ipv6_defaultrouter="{network.gateway6}"\n'
    # Jails with a network of their own are reached through this machine.
    is_gateway = seed is not None and seed.jails.network == "vnet"
    return text + f'gateway_enable="{"YES" if is_gateway else "NO"}"\n'


def _resolver(network: NetworkSeed | None) -> Iterator[File]:
    servers = network.nameservers if network else ()
    if network is not None and network.mode == "static":
        text = "".join(f"nameserver {server}\n" for server in servers)
        yield File(path="/etc/resolv.conf", content=(_HEAD + text).encode())
    text = f"supersede domain-name-servers {', '.join(servers)};\n" if servers else ""
    yield File(path="/etc/dhclient.conf", content=(_HEAD + text).encode(), service="netif")


def _ssh_keys(seed: Seed | None) -> File:
    keys = seed.ssh.authorized_keys if seed and seed.ssh else ()
    return File(
        path="/etc/ssh/authorized_keys/root",
        content="".join(f"{key}\n" for key in keys).encode() if keys else None,
    )


def _known_hosts(seed: Seed | None) -> File:
    hosts = seed.repository.known_hosts if seed and seed.repository else ()
    return File(
        path="/etc/ssh/ssh_known_hosts",
        content="".join(f"{host}\n" for host in hosts).encode() if hosts else None,
    )


def _ports(seed: Seed | None) -> File:
    ports = seed.firewall.quic_ports if seed else DEFAULT_PORTS
    text = f'quic_ports = "{{ {", ".join(map(str, ports))} }}"\n'
    return File(path="/etc/pf.ports.conf", content=(_HEAD + text).encode(), service="pf")


def _servers(seed: Seed | None) -> File:
    servers = seed.time.servers if seed and seed.time else DEFAULT_SERVERS
    lines = [each if each.startswith("pool ") else f"server {each}" for each in servers]
    text = "".join(f"{line} iburst\n" for line in lines)
    return File(path="/etc/ntp.servers.conf", content=(_HEAD + text).encode(), service="ntpd")


def _log(seed: Seed | None) -> Iterator[File]:
    log = seed.log if seed else None
    # -ss opens no socket at all; -s one that only sends.
    yield _rc("syslogd", f'syslogd_flags="{"-s" if log else "-ss"}"\n')
    yield File(
        path="/etc/syslog.d/remote.conf",
        content=f"{_HEAD}*.*\t@{log.remote}\n".encode() if log else None,
        service="syslogd",
    )


def _reconciler(seed: Seed | None, way_out: str) -> Iterator[File]:
    repository = seed.repository if seed else None
    signers = repository.allowed_signers if repository else ()
    yield File(
        path=ALLOWED_SIGNERS,
        content="".join(f"{each}\n" for each in signers).encode() if signers else None,
    )
    yield File(
        path=RECONCILER_SETTINGS,
        content=_settings(seed, repository, way_out) if seed and repository else None,
        service="reconciler",
    )
    text = f'reconciler_enable="{"YES" if repository else "NO"}"\n'
    yield _rc("reconciler", f'{text}reconciler_config="{RECONCILER_SETTINGS}"\n')


def _settings(seed: Seed, repository: RepositorySeed, way_out: str) -> bytes:
    """The settings of the reconciler. JSON is YAML that needs no thought about quotes."""
    network: dict[str, str] = {"kind": seed.jails.network}
    if seed.jails.network == "vnet":
        network |= {"bridge": BRIDGE, "subnet": SUBNET}
        network |= {"uplink": way_out} if way_out else {}
    # Without a list, whoever may push is trusted; with one, those who are on it.
    trust = {"trust": {"allowed_signers": ALLOWED_SIGNERS}} if repository.allowed_signers else {}
    settings = {
        "version": 1,
        "repository": {"url": repository.url, "branch": repository.branch},
        "state_dir": "/data/macula",
        "credentials_dir": "/cfg/credentials",
        "run_dir": "/var/run/macula",
        "runtime": "jail",
        "network": network,
        **trust,
    }
    return (_HEAD + json.dumps(settings, indent=2) + "\n").encode()
