"""What an operator can say about discovery. Words only; nothing is looked for here.

Every section bears the name of its method. A method whose name has no field here takes no
settings, and runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator

_STRICT: Final[dict[str, Any]] = {"extra": "forbid", "strict": True}
_Seconds = Annotated[float, Gt(0), Le(86_400)]

DISABLED: Final = "switched off in the configuration"
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# What is left of 253 characters for the domain, behind "_macula._udp.".
_DOMAIN_MAX: Final = 240


def check_domain(text: str) -> str:
    """``text`` without its last dot, if DNS can hold it as a domain; else ``ValueError``."""
    domain = text.removesuffix(".")
    if len(domain) > _DOMAIN_MAX or not all(map(_LABEL.fullmatch, domain.split("."))):
        raise ValueError(f"{text!r} is no domain, such as mesh.example.org")
    return domain


def check_ip(text: str) -> str:
    """``text`` if it is an IP address; else ``ValueError``."""
    return str(ip_address(text))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


_Domain = Annotated[str, AfterValidator(check_domain)]
_Ip = Annotated[str, AfterValidator(check_ip)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MdnsSettings:
    """Multicast DNS: nodes of one local network find each other with nothing configured."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    enabled: bool = True
    # IP addresses of this machine to ask and answer at; none means the one that the node listens
    # at, or, where it listens at all, every one of the machine. One that is named works where
    # addresses have no network of their own, too, as in jails that share the host's.
    interfaces: Annotated[tuple[_Ip, ...], Len(0, 16)] = ()

    def off_because(self, listening: str) -> str | None:
        """Why nobody is looked for, for a node that listens at ``listening``; else ``None``."""
        if not self.enabled:
            return DISABLED
        if not self.interfaces and is_loopback(listening):
            return "the node listens at loopback only, and discovery.mdns.interfaces is empty"
        return None

    def chosen(self, listening: str) -> tuple[str, ...]:
        """The addresses to ask and answer at; none means every one of the machine."""
        if self.interfaces or not _is_ip(listening) or ip_address(listening).is_unspecified:
            return self.interfaces
        return (listening,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSettings:
    """DNS: ``_macula._udp.<domain>`` SRV records, and the addresses of their targets."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    enabled: bool = True
    # None: nobody is asked.
    domains: Annotated[tuple[_Domain, ...], Len(0, 8)] = ()
    # None: those of the machine (/etc/resolv.conf).
    nameservers: Annotated[tuple[_Ip, ...], Len(0, 8)] = ()
    # Of those that are named.
    port: Annotated[int, Ge(1), Le(65_535)] = 53
    # For all questions about one domain: longer bears slower resolvers.
    timeout_s: _Seconds = 5.0
    # However short or long records claim to live, they are asked for again within these.
    interval_min_s: _Seconds = 5.0
    interval_max_s: _Seconds = 3600.0
    # What a resolver said last is believed so much longer while it does not answer.
    stale_s: _Seconds = 86_400.0

    def __post_init__(self) -> None:
        if self.interval_max_s < self.interval_min_s:
            raise ValueError("interval_max_s must not be below interval_min_s")

    def off_because(self, listening: str) -> str | None:
        """See ``MdnsSettings.off_because``."""
        del listening
        if not self.enabled:
            return DISABLED
        return None if self.domains else "discovery.dns.domains is empty"

    def pause_s(self, ttl_s: float) -> float:
        """When to ask again, after an answer that lives ``ttl_s`` seconds."""
        return min(self.interval_max_s, max(self.interval_min_s, ttl_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedSettings:
    """Peers that this node was linked with, kept in a file (0600) over restarts."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    enabled: bool = True
    # None: beside the control socket, with ``.peers`` behind its name. Name one on a disk if
    # that folder is emptied at boot.
    file: Path | None = None
    # How long changes are gathered before they are written: shorter loses less in a power cut.
    settle_s: _Seconds = 1.0
    # How often the time of a link that stays up is written anew.
    interval_s: _Seconds = 300.0

    def off_because(self, listening: str) -> str | None:
        """See ``MdnsSettings.off_because``."""
        del listening
        return None if self.enabled else DISABLED


@dataclass(frozen=True, slots=True, kw_only=True)
class BootstrapSettings:
    """The bootstrap list of the realm, kept by its nodes in their own DHT."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    enabled: bool = True
    # A lookup, and a renewal of the own entry, this often.
    interval_s: _Seconds = 300.0
    # A node adds itself only while the list is shorter: a longer list survives more losses.
    size: Annotated[int, Ge(1), Le(64)] = 16

    def off_because(self, listening: str) -> str | None:
        """See ``MdnsSettings.off_because``."""
        del listening
        return None if self.enabled else DISABLED


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverySettings:
    """Where to look for the mesh besides ``peers``; all ways at once, for as long as it runs."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    # Of one method at a time: more finds larger realms, and lets a liar waste more dials.
    addresses_per_source: Annotated[int, Ge(1), Le(64)] = 64
    # A method that failed is started again after a wait with full jitter, between nothing and a
    # ceiling that doubles from base to max.
    retry_base_s: _Seconds = 1.0
    retry_max_s: _Seconds = 300.0
    mdns: MdnsSettings = field(default_factory=MdnsSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    remembered: RememberedSettings = field(default_factory=RememberedSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)

    def __post_init__(self) -> None:
        if self.retry_max_s < self.retry_base_s:
            raise ValueError("retry_max_s must not be below retry_base_s")

    def retry_ceiling_s(self, failures: int) -> float:
        """The longest wait before the next start, after that many failures in a row."""
        return float(min(self.retry_max_s, self.retry_base_s * 2 ** min(failures, 20)))
