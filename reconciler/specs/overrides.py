"""What may be set of a node's inner workings, by the realm for all nodes or by a node for itself.

A key that is not written stays with what the node takes by itself, ``NODE_DEFAULTS``. How a node
uses these numbers is the node's business (docs/protocol.md); here they are only carried.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, MultipleOf

from reconciler.values import STRICT, Maybe, Multiplier, QueueBytes, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

Setting: TypeAlias = float | int | str

# What a node takes where neither its file nor the realm's defaults say anything.
NODE_DEFAULTS: Final[Mapping[str, Mapping[str, Setting]]] = MappingProxyType(
    {
        "swim": MappingProxyType(
            {
                "profile": "lan",
                "probe_interval_s": 1.0,
                "probe_timeout_s": 0.5,
                "indirect_probes": 3,
                "suspicion_multiplier": 3,
                "suspicion_max_multiplier": 3,
                "gossip_interval_s": 0.2,
                "gossip_fanout": 3,
                "push_pull_interval_s": 15.0,
                "retransmit_multiplier": 4,
                "awareness_max": 8,
                "suspicions_per_accuser": 16,
                "tombstone_s": 7200.0,
            }
        ),
        "topology": MappingProxyType(
            {
                "degree": 6,
                "grace_s": 10.0,
                "settle_s": 0.1,
                "dial_patience_s": 15.0,
                "retry_base_s": 1.0,
                "retry_max_s": 30.0,
                "retry_lost_interval_s": 10.0,
            }
        ),
        "link": MappingProxyType(
            {
                "idle_timeout_s": 10.0,
                "handshake_timeout_s": 5.0,
                "reconnect_base_s": 0.25,
                "reconnect_max_s": 30.0,
            }
        ),
        "events": MappingProxyType({"sign": False, "require_signature": False}),
        "limits": MappingProxyType(
            {
                "links": 256,
                "pending_handshakes": 64,
                "links_per_source": 128,
                "pending_per_source": 32,
                "handshakes_per_s": 64,
                "greeting_bytes": 65_536,
                "tickets": 1024,
                "link_queue_bytes": 32 * 1024 * 1024,
                "clients": 64,
                "client_queue_bytes": 32 * 1024 * 1024,
                "pending_calls": 10_000,
                "subscriptions": 100_000,
                "members": 10_000,
            }
        ),
    }
)

# What a profile other than ``lan`` makes of the numbers that must fit together.
PROFILES: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "wan": MappingProxyType({"probe_interval_s": 5.0, "probe_timeout_s": 3.0}),
        "local": MappingProxyType({"probe_interval_s": 1.0, "probe_timeout_s": 0.2}),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimOverrides:
    """Failure detection: how soon a silent node is suspected, and how long it may object."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    profile: Maybe[Literal["lan", "wan", "local"]] = None
    """What lies between the nodes: it gives the numbers that are not written."""
    probe_interval_s: Maybe[Seconds] = None
    """One member is probed per interval: shorter finds the dead sooner, at a packet each."""
    probe_timeout_s: Maybe[Seconds] = None
    """How long to wait for the answer to a probe; below probe_interval_s."""
    indirect_probes: Maybe[Annotated[int, Ge(0), Le(16)]] = None
    """How many others are asked about a member that did not answer."""
    suspicion_multiplier: Maybe[Multiplier] = None
    """How many probe intervals a suspect may object: more forgives more pauses."""
    suspicion_max_multiplier: Maybe[Multiplier] = None
    """How many times as long while nobody else suspects it."""
    gossip_interval_s: Maybe[Seconds] = None
    """Time between rounds of news, while there is some."""
    gossip_fanout: Maybe[Multiplier] = None
    """How many linked members are told in one round."""
    push_pull_interval_s: Maybe[Seconds] = None
    """Time between full exchanges of membership with one peer."""
    retransmit_multiplier: Maybe[Multiplier] = None
    """How often a rumour is passed on: more reaches everybody sooner, at more bytes."""
    awareness_max: Maybe[Annotated[int, Ge(0), Le(100)]] = None
    """How far a node doubts its own health, and slows down; 0 switches it off."""
    suspicions_per_accuser: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """How many members one node may accuse at once and be believed."""
    tombstone_s: Maybe[Seconds] = None
    """How long a dead member is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOverrides:
    """QUIC links to other nodes."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    idle_timeout_s: Maybe[Seconds] = None
    """A silent link is given up after this."""
    handshake_timeout_s: Maybe[Seconds] = None
    """How long a new link may take until it is accepted."""
    reconnect_base_s: Maybe[Seconds] = None
    """The first wait before dialling again; doubled at each failure."""
    reconnect_max_s: Maybe[Seconds] = None
    """The longest wait before dialling again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopologyOverrides:
    """The graph of links of a realm; degree must be the same at every node of it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    degree: Maybe[Annotated[int, Ge(2), Le(64), MultipleOf(2)]] = None
    """Links of each node, an even number: more survive more losses, and each costs something."""
    grace_s: Maybe[Seconds] = None
    """How long a link that nobody wants is kept."""
    settle_s: Maybe[Seconds] = None
    """How long changes of members are gathered before links follow."""
    dial_patience_s: Maybe[Seconds] = None
    """A dial of which nothing is heard counts as failed after this."""
    retry_base_s: Maybe[Seconds] = None
    """The first wait before a neighbour out of reach is tried again; doubled at each failure."""
    retry_max_s: Maybe[Seconds] = None
    """The longest such wait."""
    retry_lost_interval_s: Maybe[Seconds] = None
    """How often one lost member is tried, so that a partition heals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventOverrides:
    """What events are to prove, beside who handed them on."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    sign: Maybe[bool] = None
    """Sign what the clients of the node publish."""
    require_signature: Maybe[bool] = None
    """Take up and pass on signed events only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOverrides:
    """Bounds of one node: what lies beyond is refused."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    links: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links to other nodes."""
    pending_handshakes: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links that are not accepted yet."""
    links_per_source: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links from one source: an IPv4 address, or an IPv6 /64."""
    pending_per_source: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links from one source that are not accepted yet."""
    handshakes_per_s: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """New links a second; above it, strangers must prove their address first."""
    greeting_bytes: Maybe[Annotated[int, Ge(16_384), Le(1 << 20)]] = None
    """Bytes that a peer may send before it has greeted."""
    tickets: Maybe[Annotated[int, Ge(0), Le(100_000)]] = None
    """Session tickets, given and held; 0 switches resumption off."""
    link_queue_bytes: Maybe[QueueBytes] = None
    """Bytes waiting on one link."""
    clients: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Connections to the control socket."""
    client_queue_bytes: Maybe[QueueBytes] = None
    """Bytes waiting for one client."""
    pending_calls: Maybe[Annotated[int, Ge(1), Le(1_000_000)]] = None
    """Remote calls without an answer yet."""
    subscriptions: Maybe[Annotated[int, Ge(1), Le(1_000_000)]] = None
    """Subscriptions of the clients of this node; of all others twice as many are kept."""
    members: Maybe[Annotated[int, Ge(1), Le(1_000_000)]] = None
    """Members that are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What every node of the realm takes unless its own file says otherwise."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

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


Overrides: TypeAlias = (
    SwimOverrides | LinkOverrides | TopologyOverrides | EventOverrides | LimitOverrides
)


def said(overrides: Overrides) -> dict[str, Setting]:
    """The keys of ``overrides`` that were written, with their values."""
    pairs = ((each.name, getattr(overrides, each.name)) for each in fields(overrides))
    return {key: value for key, value in pairs if value is not None}
