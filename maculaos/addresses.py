"""A UDP address as people write it: ``host:port``, with an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from maculaos.errors import MaculaError

_HOST_NAME = re.compile(r"^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$")
_WRITTEN = re.compile(
    r"^(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})$"
)


class InvalidAddress(MaculaError, ValueError):
    """Text that is not ``host:port``."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """Where a node listens; ``host`` is an IP address or a host name, ``port`` is 1 to 65535."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise InvalidAddress(f"port {self.port} is not between 1 and 65535")
        if not (_is_ip(self.host) or _HOST_NAME.fullmatch(self.host)):
            raise InvalidAddress(f"{self.host!r} is neither an IP address nor a host name")

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read ``127.0.0.1:4701``, ``[::1]:4701`` or ``edge.example:4701``."""
    matched = _WRITTEN.fullmatch(text)
    if matched is None:
        raise InvalidAddress(f"{text!r} is not host:port (an IPv6 host goes in brackets)")
    return Address(matched["six"] or matched["host"], int(matched["port"]))


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
