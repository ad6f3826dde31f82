"""The health of an app as its spec says it: what is asked, how often, and what counts.

Each kind can be asked at most once; with several, an app is healthy when all of them say so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

from annotated_types import Ge, Gt, Le, Len
from pydantic import AfterValidator, Field

from reconciler.ports.spec import PortOrName
from reconciler.values import STRICT, Command, IpAddress, Maybe, Name, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATH: Final = re.compile(r"/[!-~]{0,1023}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
# What the request says itself.
_OWN_HEADERS: Final = ("connection", "content-length", "transfer-encoding")


def _path(text: str) -> str:
    if _PATH.fullmatch(text) is None:
        raise ValueError("must start with / and hold no spaces or control characters")
    return text


def _header(text: str) -> str:
    if _HEADER.fullmatch(text) is None:
        raise ValueError(f"{text!r} cannot name a header")
    if text.lower() in _OWN_HEADERS:
        raise ValueError(f"{text} is set by the probe itself")
    return text


def _one_line(text: str) -> str:
    if not text.isascii() or not text.isprintable():
        raise ValueError("must be one line of printable ASCII")
    return text


def _method(text: str) -> str:
    if not text or not all(32 < ord(letter) < 127 for letter in text):
        raise ValueError(f"{text!r} cannot name a method: use visible ASCII")
    return text


_Path: TypeAlias = Annotated[str, AfterValidator(_path)]
_Headers: TypeAlias = Annotated[
    dict[
        Annotated[str, AfterValidator(_header)],
        Annotated[str, Len(0, 1024), AfterValidator(_one_line)],
    ],
    Len(0, 20),
]
_Method: TypeAlias = Annotated[str, Len(1, 255), AfterValidator(_method)]
_Status: TypeAlias = Annotated[int, Ge(100), Le(599)]
_InARow: TypeAlias = Annotated[int, Ge(1), Le(16)]
_Timeout: TypeAlias = Annotated[float, Gt(0), Le(300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often a probe asks, and how many answers in a row change its mind.

    What the keys mean is said in a way that the probes, which have them too, inherit.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    interval_s: Annotated[Seconds, Field(description="Time from one question to the next.")] = 5.0
    timeout_s: Annotated[
        _Timeout, Field(description="How long an answer may take; not above interval_s.")
    ] = 3.0
    failures: Annotated[
        _InARow, Field(description="How many failures in a row make the app unhealthy.")
    ] = 3
    successes: Annotated[
        _InARow, Field(description="How many successes in a row make it healthy.")
    ] = 1

    def __post_init__(self) -> None:
        if self.timeout_s > self.interval_s:
            raise ValueError("timeout_s must not be above interval_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe(Rhythm):
    """A web server that answers with the right status; its body is not read."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    port: PortOrName
    """The TCP port: a number, or the name of one of the app's ports."""
    path: _Path = "/"
    """What is asked for."""
    status: _Status = 200
    """The status that a healthy app answers with; redirections are not followed."""
    headers: _Headers = field(default_factory=dict)
    """Further headers of the request."""
    host: Maybe[IpAddress] = None
    """The IP address to ask; the one of the app itself if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe(Rhythm):
    """A port that takes connections."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    port: PortOrName
    """The TCP port: a number, or the name of one of the app's ports."""
    host: Maybe[IpAddress] = None
    """The IP address to ask; the one of the app itself if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecProbe(Rhythm):
    """A command inside the app's jail that ends with status 0."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    command: Command
    """The program and its arguments, a word each; no shell reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshProbe(Rhythm):
    """Something that answers in the mesh, as the app's own node sees it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    member: Maybe[Name] = None
    """A node of the mesh that must be alive."""
    method: Maybe[_Method] = None
    """A method that must answer a call without a value."""

    def __post_init__(self) -> None:
        # Not super(): a class with slots is made anew by its decorator.
        Rhythm.__post_init__(self)
        if (self.member is None) == (self.method is None):
            raise ValueError("needs either member or method")


Probe: TypeAlias = HttpProbe | TcpProbe | ExecProbe | MeshProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How to know that an app does its work; without it, that it runs is enough."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    http: Maybe[HttpProbe] = None
    """A web server that answers with the right status."""
    tcp: Maybe[TcpProbe] = None
    """A port that takes connections."""
    exec: Maybe[ExecProbe] = None
    """A command inside the jail that ends with status 0."""
    mesh: Maybe[MeshProbe] = None
    """Something that answers in the mesh."""

    def __post_init__(self) -> None:
        if not self.probes():
            raise ValueError("needs at least one of http, tcp, exec and mesh")

    def probes(self) -> Mapping[str, Probe]:
        """The probes by their kind."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        return {kind: probe for kind, probe in every.items() if probe is not None}
