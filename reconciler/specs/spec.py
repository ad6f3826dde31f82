"""The spec format, version 1: what the files of a repository may say, typed key by key.

``realm.yaml`` is a ``RealmSpec``, ``nodes/<name>.yaml`` a ``NodeSpec``, ``apps/<name>.yaml`` an
``AppSpec``. The text under each field is its documentation: ``docs/spec.md`` and the JSON Schemas
for editors are made from it. Each type checks one file by itself; what holds between files is the
business of ``reconciler.desired``, what becomes of them that of ``reconciler.render``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Len

from reconciler.overrides import Defaults, LimitOverrides, LinkOverrides, SwimOverrides, said
from reconciler.values import (
    STRICT,
    Command,
    IpAddress,
    JailedName,
    Maybe,
    Name,
    Peer,
    Port,
    Realm,
    Seconds,
    Variable,
    Word,
    WrittenAddress,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmSpec:
    """The file realm.yaml: the realm that every node of the repository belongs to."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1]
    """The version of the spec format."""
    name: Realm
    """The realm, as the certificates of its nodes name it: a-z, 0-9, . and -."""
    description: Annotated[str, Len(0, 1000)] = ""
    """For people."""
    defaults: Defaults = field(default_factory=Defaults)
    """What every node takes unless its own file says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a node listens: one UDP port."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    address: IpAddress
    """The IP address to bind; 0.0.0.0 or :: for all, which makes advertise necessary."""
    port: Port
    """The UDP port; no two nodes of the repository may share address and port."""
    advertise: Annotated[tuple[WrittenAddress, ...], Len(0, 8)] = ()
    """What others are told to dial, as host:port; the address and port above if left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """A file nodes/<name>.yaml: one mesh node."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1]
    """The version of the spec format."""
    name: JailedName
    """The node: 1 to 27 of a-z, 0-9 and -; the same as the file name without .yaml."""
    realm: Realm
    """The realm that realm.yaml declares."""
    listen: Listen
    """Where the node listens."""
    peers: Maybe[Annotated[tuple[Peer, ...], Len(0, 1000)]] = None
    """Where to find the mesh: names of nodes, or host:port; every other node if left out."""
    swim: SwimOverrides = field(default_factory=SwimOverrides)
    """Failure detection, see swim."""
    link: LinkOverrides = field(default_factory=LinkOverrides)
    """Links to other nodes, see link."""
    limits: LimitOverrides = field(default_factory=LimitOverrides)
    """Bounds, see limits."""
    stop_deadline_s: Seconds = 10.0
    """How long the node may take to leave the mesh before it is stopped by force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartRule:
    """What happens when a program ends by itself."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    policy: Literal["always", "on-failure", "never"] = "always"
    """When the program is started again."""
    base_s: Seconds = 0.25
    """The first wait before it is started again; doubled at each failure in a row."""
    max_s: Seconds = 30.0
    """The longest wait before it is started again; not below base_s."""

    def __post_init__(self) -> None:
        if self.max_s < self.base_s:
            raise ValueError("max_s must not be below base_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """A file apps/<name>.yaml: one program that uses the mesh."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    version: Literal[1]
    """The version of the spec format."""
    name: JailedName
    """The app: 1 to 27 of a-z, 0-9 and -; the same as the file name without .yaml."""
    node: Name
    """The node of this repository whose mesh the app uses."""
    command: Command
    """The program and its arguments, a word each; no shell reads it."""
    environment: Annotated[dict[Variable, Word], Len(0, 256)] = field(default_factory=dict)
    """Variables for the program; values are text, so numbers are quoted."""
    restart: RestartRule = field(default_factory=RestartRule)
    """What happens when the program ends by itself."""
    stop_deadline_s: Seconds = 10.0
    """How long the program may take to end before it is stopped by force."""


def effective(node: NodeSpec, realm: RealmSpec) -> dict[str, dict[str, float | int]]:
    """What the realm's defaults and the node's file say of swim, link and limits together.

    The node's file wins; what neither says is left out.
    """
    defaults = realm.defaults
    return {
        "swim": said(defaults.swim) | said(node.swim),
        "link": said(defaults.link) | said(node.link),
        "limits": said(defaults.limits) | said(node.limits),
    }
