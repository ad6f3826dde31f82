"""The ports of an app as its spec says them, and how a program is told its own.

An app's ``port`` is where the front of the machine listens for it; the port that an instance
listens at is its own, and told to it in its environment. Words only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Len
from pydantic import AfterValidator, Discriminator, Tag, WithJsonSchema

from reconciler.values import STRICT, Port

MOST_PORTS: Final = 16
# In front of the name of a port, in capitals and with _ for -.
VARIABLE_PREFIX: Final = "MACULA_PORT_"
# In words of a command: the port of that name, as the instance has it for itself.
PORT_WORD: Final = re.compile(r"\{port:([^{}]*)\}")
# What IANA allows as the name of a service (RFC 6335), less capitals and a leading digit.
_NAME_PATTERN: Final = r"^[a-z]([a-z0-9-]{0,13}[a-z0-9])?$"
_NAME: Final = re.compile(_NAME_PATTERN)


def check_port_name(text: str) -> str:
    """Return ``text`` if it can name a port; else ``ValueError``."""
    if _NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a port: up to 15 of a-z, 0-9 and -, a letter first")
    return text


PortName: TypeAlias = Annotated[
    str,
    AfterValidator(check_port_name),
    WithJsonSchema({"type": "string", "pattern": _NAME_PATTERN}),
]


def _form_of(value: Any) -> str:
    return "name" if isinstance(value, str) else "number"


# Of a probe: the number of a port, or the name of one. Told apart by its form, so that what is
# wrong with one is not said of the other as well.
PortOrName: TypeAlias = Annotated[
    Annotated[Port, Tag("number")] | Annotated[PortName, Tag("name")], Discriminator(_form_of)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSpec:
    """One port of an app: where the machine takes connections for it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: PortName
    """What it is called; of web, the program finds its own port in MACULA_PORT_WEB."""
    port: Port
    """Where the machine listens for the app; no two apps of a machine may share one."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """What is forwarded: connections, or datagrams."""

    @property
    def variable(self) -> str:
        """The variable that tells the program its own port."""
        return port_variable(self.name)


def port_variable(name: str) -> str:
    """The variable of the port of that name."""
    return VARIABLE_PREFIX + name.upper().replace("-", "_")


def _distinct(ports: tuple[PortSpec, ...]) -> tuple[PortSpec, ...]:
    names = [each.name for each in ports]
    places = [(each.protocol, each.port) for each in ports]
    if len(set(names)) < len(names):
        raise ValueError("two ports have the same name")
    if len(set(places)) < len(places):
        raise ValueError("two ports have the same number and protocol")
    return ports


Ports: TypeAlias = Annotated[tuple[PortSpec, ...], Len(0, MOST_PORTS), AfterValidator(_distinct)]
