"""Where an HTTP server listens, and how it may: over TLS, or in plain text where that is safe.

Pure: an address is judged by its form alone, names are not looked up.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from maculaos.errors import UsageError


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An IP address and a TCP port; port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The files of a TLS server: its chain, and its key, which only its owner may read."""

    chain: Path
    key: Path


def parse_endpoint(text: str) -> Endpoint:
    """Read ``127.0.0.1:8080`` or ``[::1]:8080``; raises ``ValueError`` in words."""
    host, separator, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address and port, such as 127.0.0.1:8080") from None
    if not separator or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} names no port")
    if (address.version == 6) != (bare != host):
        raise ValueError(f"{text!r}: IPv6 addresses stand in brackets, others do not")
    return Endpoint(str(address), int(port))


def check_privacy(endpoint: Endpoint, *, has_tls: bool, behind_proxy: bool) -> None:
    """Raise ``UsageError`` if secrets would cross a network in plain text."""
    if not has_tls and not behind_proxy and not endpoint.is_loopback:
        raise UsageError(
            f"{endpoint} would be served in plain text",
            "name a certificate and its key, listen on 127.0.0.1, or say that a proxy adds TLS",
        )
