"""Where apps are reached on this machine, and how much their front may take: words only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final

from annotated_types import Ge, Le
from pydantic import AfterValidator

from reconciler.values import STRICT, IpAddress, Seconds

FIRST_PLAIN_PORT: Final = 1024
LEAST_PORTS: Final = 16


def check_port_range(text: str) -> str:
    """Return ``text`` if it is a range of ports with some room; else ``ValueError``."""
    first, dash, last = text.partition("-")
    if not (dash and first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise ValueError(f"{text!r} is no range of ports, such as 20000-29999")
    if not FIRST_PLAIN_PORT <= int(first) <= int(last) <= 65_535:
        raise ValueError(f"{text!r} must lie between {FIRST_PLAIN_PORT} and 65535")
    if int(last) - int(first) + 1 < LEAST_PORTS:
        raise ValueError(f"{text!r} has room for fewer than {LEAST_PORTS} ports")
    return text


PortRange = Annotated[str, AfterValidator(check_port_range)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSettings:
    """Where apps with ports are reached, and what their front may take."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    listen: IpAddress = "127.0.0.1"
    """The address that apps are reached at; 0.0.0.0 or :: for every one of this machine."""
    ports: PortRange = "20000-29999"
    """Instances that share the machine's network each get a port of these for themselves."""
    privileged: bool = False
    """true: apps may ask for ports below 1024, and the reconciler has the right to listen there."""
    connections: Annotated[int, Ge(1), Le(1_000_000)] = 4096
    """How many there may be at once; more are turned away."""
    idle_s: Seconds = 3600.0
    """A connection on which nothing passes for so long is ended."""

    @property
    def span(self) -> range:
        """The ports of instances."""
        first, _, last = self.ports.partition("-")
        return range(int(first), int(last) + 1)
