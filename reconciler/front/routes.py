"""What the files of traffic say, as the front reads them: checked, and turned into routes. Pure.

A file that does not say what it should is refused as a whole; what it said before goes on.
"""

from __future__ import annotations

import ipaddress
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from reconciler.front.balance import Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_BYTES: Final = 1024 * 1024
MOST_INSTANCES: Final = 400
MOST_PORTS: Final = 16
LOOPBACK: Final = "127.0.0.1"
_LONGEST_WORD: Final = 200

# A protocol and the port that the machine listens at.
Place: TypeAlias = tuple[str, int]


class BadTraffic(ValueError):
    """A file does not say what it should; the words say what is wrong."""


@dataclass(slots=True)
class Route:
    """Where the connections to one port of an app go."""

    app: str
    name: str
    place: Place
    active: list[Endpoint]
    resting: list[Endpoint]
    linger_s: float


def read_routes(content: bytes, app: str) -> Mapping[Place, Route]:
    """The routes of ``app`` by its file; raises ``BadTraffic``."""
    if len(content) > MOST_BYTES:
        raise BadTraffic(f"more than {MOST_BYTES} bytes")
    try:
        said = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadTraffic(f"not JSON: {error}") from error
    if not isinstance(said, dict) or said.get("version") != 1:
        raise BadTraffic("not of version 1")
    if said.get("app") != app:
        raise BadTraffic("about another app")
    linger_s = _seconds(said.get("linger_s", 0.0))
    routes: dict[Place, Route] = {}
    for key in ("active", "resting"):
        for one in _listed(said.get(key, []), MOST_INSTANCES):
            for name, place, endpoint in _endpoints(one):
                route = routes.setdefault(place, Route(app, name, place, [], [], linger_s))
                (route.active if key == "active" else route.resting).append(endpoint)
    return routes


def _endpoints(said: Any) -> list[tuple[str, Place, Endpoint]]:
    if not isinstance(said, dict) or not isinstance(said.get("ports", {}), dict):
        raise BadTraffic("an instance is no mapping")
    instance, jail, version = (_word(said.get(key), key) for key in ("instance", "jail", "version"))
    address = _address(said.get("address"))
    found = []
    for name, port in _listed(list(said.get("ports", {}).items()), MOST_PORTS):
        if not isinstance(port, dict) or port.get("protocol") not in ("tcp", "udp"):
            raise BadTraffic(f"port {name!r} has no protocol")
        place = (port["protocol"], _number(port.get("listen")))
        endpoint = Endpoint(instance, jail, version, address, _number(port.get("port")))
        found.append((_word(name, "name"), place, endpoint))
    return found


def _listed(said: Any, most: int) -> list[Any]:
    if not isinstance(said, list) or len(said) > most:
        raise BadTraffic(f"no list of at most {most}")
    return said


def _word(said: Any, what: str) -> str:
    if not isinstance(said, str) or not said.isprintable() or not 0 < len(said) <= _LONGEST_WORD:
        raise BadTraffic(f"{what} is no word")
    return said


def _address(said: Any) -> str:
    """Empty: the machine's own network."""
    if said == "":
        return LOOPBACK
    try:
        return str(ipaddress.ip_address(_word(said, "address")))
    except ValueError as error:
        raise BadTraffic("address is no IP address") from error


def _number(said: Any) -> int:
    if type(said) is not int or not 1 <= said <= 65_535:
        raise BadTraffic("what should be a port is none")
    return said


def _seconds(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise BadTraffic("linger_s is no number")
    if not (math.isfinite(said) and 0 <= said <= 86_400):
        raise BadTraffic("linger_s is no time up to a day")
    return float(said)


def claims(
    apps: Mapping[str, Mapping[Place, Route]], owners: Mapping[Place, str]
) -> dict[Place, Route]:
    """One route for each place: whoever has it keeps it; of several others, the first by name."""
    granted: dict[Place, Route] = {}
    for app in sorted(apps):
        for place, route in apps[app].items():
            if place not in granted or owners.get(place) == app:
                granted[place] = route
    return granted
