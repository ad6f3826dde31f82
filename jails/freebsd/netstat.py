"""netstat(1): the routes of a stack, and what went through an interface.

The form of ``traffic_argv``'s answer was read in netstat(1) and its source, not recorded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_HEADER = ("Destination", "Gateway", "Flags", "Netif", "Expire")
_FIELDS_MIN = 4
# Of the rows of one interface, the one that counts all of it; the others count an address each.
_LINK = "<Link#"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route; ``gateway`` is an address, or ``link#N`` for what is directly reachable."""

    destination: str
    gateway: str
    flags: str
    interface: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What went through an interface since it was made, in bytes."""

    received: int
    sent: int


def routes_argv() -> tuple[str, ...]:
    """The IPv4 routes, numbers instead of names."""
    return ("netstat", "-rn", "-f", "inet")


def parse_routes(text: str) -> tuple[Route, ...]:
    """Answer of ``routes_argv``; raises ``UnreadableAnswer``. Without a table there is no route."""
    lines = [line for line in text.splitlines() if line]
    starts = [n for n, line in enumerate(lines, 1) if tuple(line.split()) == _HEADER]
    if not starts:
        strange = [line for line in lines if line not in ("Routing tables", "Internet:")]
        if strange:
            raise UnreadableAnswer("netstat", strange[0])
        return ()
    return tuple(_route(line) for line in lines[starts[0] :])


def traffic_argv(interface: str) -> tuple[str, ...]:
    """What went through one interface of this stack, as JSON."""
    return ("netstat", "-I", interface, "-b", "-n", "--libxo", "json")


def parse_traffic(text: str) -> Traffic | None:
    """Answer of ``traffic_argv``; None without such an interface; raises ``UnreadableAnswer``."""
    try:
        rows = json.loads(text)["statistics"].get("interface", [])
        counted = [each for each in rows if str(each["network"]).startswith(_LINK)]
        if not counted:
            return None
        row = counted[0]
        return Traffic(received=int(row["received-bytes"]), sent=int(row["sent-bytes"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnreadableAnswer("netstat", text) from error


def default_interface(routes: tuple[Route, ...]) -> str | None:
    """Where packets go that no other route takes."""
    return next((route.interface for route in routes if route.destination == "default"), None)


def _route(line: str) -> Route:
    fields = line.split()
    if not _FIELDS_MIN <= len(fields) <= len(_HEADER):
        raise UnreadableAnswer("netstat", line)
    destination, gateway, flags, interface, *_ = fields
    return Route(destination=destination, gateway=gateway, flags=flags, interface=interface)
