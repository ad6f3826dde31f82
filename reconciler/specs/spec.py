"""The spec format, version 1: what the files of a repository may say, typed key by key.

``realm.yaml`` is a ``RealmSpec``, ``nodes/<name>.yaml`` a ``NodeSpec``, ``apps/<name>.yaml`` an
``AppSpec``. The text under each field is its documentation: ``docs/spec.md`` and the JSON Schemas
for editors are made from it. Each type checks one file by itself; what holds between files is the
business of ``reconciler.specs.between``, what becomes of them that of ``reconciler.render``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, TypeAlias, cast

from annotated_types import Len

from reconciler.hooks.spec import LifeHooks
from reconciler.ports.spec import Ports
from reconciler.probes.spec import Health
from reconciler.releases.spec import ReleaseSpec
from reconciler.rollouts.spec import Instances, Strategy
from reconciler.secrets.reference import Environment
from reconciler.specs.overrides import (
    Defaults,
    EventOverrides,
    LimitOverrides,
    LinkOverrides,
    Setting,
    SwimOverrides,
    TopologyOverrides,
    said,
)
from reconciler.specs.targets import Targets
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
    Vars,
    WrittenAddress,
)

Profiles = Annotated[tuple[Name, ...], Len(0, 16)]


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
    vars: Vars = field(default_factory=dict)
    """Values for templates, in every spec that has none of the same name."""
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
    topology: TopologyOverrides = field(default_factory=TopologyOverrides)
    """The graph of links, see topology."""
    events: EventOverrides = field(default_factory=EventOverrides)
    """Signatures of events, see events."""
    limits: LimitOverrides = field(default_factory=LimitOverrides)
    """Bounds, see limits."""
    targets: Maybe[Targets] = None
    """The machines that run it; every machine if left out."""
    profiles: Profiles = ()
    """Names of files in profiles/ that this file is laid over, the last on top."""
    vars: Vars = field(default_factory=dict)
    """Values for templates."""
    moved_from: Maybe[JailedName] = None
    """The name that the node had before: it is renamed, not removed and made anew."""
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
    release: Maybe[ReleaseSpec] = None
    """The archive that holds the program, see release."""
    environment: Environment = field(default_factory=dict)
    """Variables for the program: text, so numbers are quoted, or a secret, see secret."""
    depends_on: Annotated[tuple[JailedName, ...], Len(0, 100)] = ()
    """Apps that start before this one and are removed after it; its node always does."""
    instances: Instances = 1
    """How many times the app runs on one machine, each time in a jail of its own."""
    strategy: Strategy = field(default_factory=Strategy)
    """How a new version takes the place of the old one, see strategy."""
    ports: Ports = ()
    """Where the machine takes connections for the app, see port."""
    health: Maybe[Health] = None
    """How to know that the app does its work, see health; that it runs, if left out."""
    hooks: LifeHooks = field(default_factory=LifeHooks)
    """Commands beside the program when it starts, drains and is to end, see hooks."""
    targets: Maybe[Targets] = None
    """The machines that run it; those of its node if left out."""
    profiles: Profiles = ()
    """Names of files in profiles/ that this file is laid over, the last on top."""
    vars: Vars = field(default_factory=dict)
    """Values for templates."""
    moved_from: Maybe[JailedName] = None
    """The name that the app had before: it is renamed, not removed and made anew."""
    restart: RestartRule = field(default_factory=RestartRule)
    """What happens when the program ends by itself."""
    stop_deadline_s: Seconds = 10.0
    """How long the program may take to end before it is stopped by force."""

    def __post_init__(self) -> None:
        drain_s = self.strategy.drain_s + self.hooks.timeout_s
        if self.hooks.drain is not None and self.strategy.progress_deadline_s <= drain_s:
            raise ValueError("progress_deadline_s must be above drain_s and hooks.timeout_s")

    @property
    def is_judged(self) -> bool:
        """Whether more is asked of it than that its program runs."""
        return self.health is not None or self.hooks.start is not None


AnySpec: TypeAlias = NodeSpec | AppSpec


def settled(node: NodeSpec, realm: RealmSpec) -> NodeSpec:
    """``node`` with the realm's defaults as its own."""
    said_of = effective(node, realm)
    # The keys of each part are those of its type.
    parts = (cast("dict[str, Any]", said_of[part]) for part in said_of)
    swim, link, topology, events, limits = parts
    return replace(
        node,
        swim=SwimOverrides(**swim),
        link=LinkOverrides(**link),
        topology=TopologyOverrides(**topology),
        events=EventOverrides(**events),
        limits=LimitOverrides(**limits),
    )


def effective(node: NodeSpec, realm: RealmSpec) -> dict[str, dict[str, Setting]]:
    """What the realm's defaults and the node's file say of a node's inner workings together.

    The node's file wins; what neither says is left out.
    """
    own, defaults = own_overrides(node), realm.defaults
    return {
        "swim": said(defaults.swim) | own["swim"],
        "link": said(defaults.link) | own["link"],
        "topology": said(defaults.topology) | own["topology"],
        "events": said(defaults.events) | own["events"],
        "limits": said(defaults.limits) | own["limits"],
    }


def own_overrides(node: NodeSpec) -> dict[str, dict[str, Setting]]:
    """What the node itself says of its inner workings; what it does not say is left out."""
    return {
        "swim": said(node.swim),
        "link": said(node.link),
        "topology": said(node.topology),
        "events": said(node.events),
        "limits": said(node.limits),
    }
