"""netstat(1): the routes of a stack; which interface leads to the rest of the world."""

from __future__ import annotations

from dataclasses import dataclass

from jails.freebsd.unreadable import UnreadableAnswer

_HEADER = ("Destination", "Gateway", "Flags", "Netif", "Expire")
_FIELDS_MIN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route; ``gateway`` is an address, or ``link#N`` for what is directly reachable."""

    destination: str
    gateway: str
    flags: str
    interface: str


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


def default_interface(routes: tuple[Route, ...]) -> str | None:
    """Where packets go that no other route takes."""
    return next((route.interface for route in routes if route.destination == "default"), None)


def _route(line: str) -> Route:
    fields = line.split()
    if not _FIELDS_MIN <= len(fields) <= len(_HEADER):
        raise UnreadableAnswer("netstat", line)
    destination, gateway, flags, interface, *_ = fields
    return Route(destination=destination, gateway=gateway, flags=flags, interface=interface)
