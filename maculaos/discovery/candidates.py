"""Candidates: the addresses that every source of discovery names now, merged.

A source is one way of looking, such as ``mdns``. What it says replaces what it said before; what
nobody says again is gone when its time is over. Each source has room of its own, so one that is
noisy, or lied to, crowds out no other. Addresses are hints: whoever answers there proves with a
certificate who it is. Nobody is dialled here.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from maculaos.addresses import Address, InvalidAddress, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

# No hint is believed longer without being said again.
LIFETIME_MAX_S: Final = 7 * 86_400.0
_BROADCAST: Final = ipaddress.IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Hint:
    """Somebody may listen at ``address`` (``host:port``), for ``lifetime_s`` seconds from now."""

    address: str
    lifetime_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """What ``source`` names now, in its own order; it names all of it, and nothing else."""

    source: str
    addresses: tuple[str, ...]


class Candidates:
    """At most ``per_source`` addresses of each source; the first ones that it says."""

    def __init__(self, per_source: int) -> None:
        self._per_source = per_source
        # Source -> address -> when it is over, in monotonic seconds.
        self._named: dict[str, dict[str, float]] = {}
        # How many hints were no address to dial, or found no room.
        self.refused = 0

    def name(self, source: str, hints: Iterable[Hint], now: float) -> tuple[Change, ...]:
        """``source`` names these now; return the change, if it is one.

        ``hints`` is read no further than twice the room of a source.
        """
        named: dict[str, float] = {}
        for number, hint in enumerate(hints):
            if number >= 2 * self._per_source:
                break
            self._take(named, hint, now)
        before = self.of(source)
        self._named[source] = named
        after = self.of(source)
        return (Change(source, after),) if after != before else ()

    def advance(self, now: float) -> tuple[Change, ...]:
        """Let go of what is over by now; return one change for each source that lost some."""
        changes: list[Change] = []
        for source, named in self._named.items():
            left = {address: end for address, end in named.items() if end > now}
            if len(left) < len(named):
                self._named[source] = left
                changes.append(Change(source, tuple(left)))
        return tuple(changes)

    def next_deadline(self) -> float:
        """When ``advance`` has something to do; infinity if never."""
        ends = (end for named in self._named.values() for end in named.values())
        return min(ends, default=math.inf)

    def of(self, source: str) -> tuple[str, ...]:
        """What that source names now."""
        return tuple(self._named.get(source, ()))

    def all(self) -> tuple[str, ...]:
        """What any source names now, each address once."""
        return tuple(dict.fromkeys(each for named in self._named.values() for each in named))

    def _take(self, named: dict[str, float], hint: Hint, now: float) -> None:
        address = dialable(hint.address)
        if address is None or not hint.lifetime_s > 0:
            self.refused += 1
            return
        if address not in named and len(named) >= self._per_source:
            self.refused += 1
            return
        end = now + min(hint.lifetime_s, LIFETIME_MAX_S)
        named[address] = max(end, named.get(address, end))


def dialable(text: str) -> str | None:
    """``text`` as a node writes addresses, if one can listen there; else ``None``.

    Nobody listens at a multicast or an unspecified address; whoever sends hints for those wants
    packets to go astray.
    """
    try:
        address = parse_address(text)
    except InvalidAddress:
        return None
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        # A last label of digits is an IP address written wrongly, for every resolver.
        return None if address.host.rsplit(".", 1)[-1].isdigit() else str(address)
    return None if _is_nobody(ip) else str(Address(str(ip), address.port))


def _is_nobody(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return _is_nobody(ip.ipv4_mapped)
    return ip.is_multicast or ip.is_unspecified or ip == _BROADCAST
