"""What may be set of a node's inner workings, by the realm for all nodes or by a node for itself.

A key that is not written stays with what the node takes by itself, ``NODE_DEFAULTS``. How a node
uses these numbers is the node's business (docs/protocol.md); here they are only carried.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

from annotated_types import Ge, Le

from reconciler.values import STRICT, Maybe, Multiplier, QueueBytes, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a node takes where neither its file nor the realm's defaults say anything.
NODE_DEFAULTS: Final[Mapping[str, Mapping[str, float | int]]] = MappingProxyType(
    {
        "swim": MappingProxyType(
            {
                "probe_interval_s": 1.0,
                "probe_timeout_s": 0.5,
                "suspicion_multiplier": 3,
                "push_pull_interval_s": 15.0,
                "retransmit_multiplier": 4,
                "tombstone_s": 3600.0,
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
        "limits": MappingProxyType(
            {
                "links": 256,
                "pending_handshakes": 64,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class SwimOverrides:
    """Failure detection: how soon a silent node is suspected, and how long it may object."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    probe_interval_s: Maybe[Seconds] = None
    """One member is probed per interval: shorter finds the dead sooner, at a packet each."""
    probe_timeout_s: Maybe[Seconds] = None
    """How long to wait for the answer to a probe; below probe_interval_s."""
    suspicion_multiplier: Maybe[Multiplier] = None
    """How many probe intervals a suspect may object: more forgives more pauses."""
    push_pull_interval_s: Maybe[Seconds] = None
    """Time between full exchanges of membership with one peer."""
    retransmit_multiplier: Maybe[Multiplier] = None
    """How often a rumour is passed on: more reaches everybody sooner, at more bytes."""
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
class LimitOverrides:
    """Bounds of one node: what lies beyond is refused."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    links: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links to other nodes."""
    pending_handshakes: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Links that are not accepted yet."""
    link_queue_bytes: Maybe[QueueBytes] = None
    """Bytes waiting on one link."""
    clients: Maybe[Annotated[int, Ge(1), Le(10_000)]] = None
    """Connections to the control socket."""
    client_queue_bytes: Maybe[QueueBytes] = None
    """Bytes waiting for one client."""
    pending_calls: Maybe[Annotated[int, Ge(1), Le(1_000_000)]] = None
    """Remote calls without an answer yet."""
    subscriptions: Maybe[Annotated[int, Ge(1), Le(1_000_000)]] = None
    """Subscriptions, own and those of others."""
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
    limits: LimitOverrides = field(default_factory=LimitOverrides)
    """Bounds, see limits."""


Overrides: TypeAlias = SwimOverrides | LinkOverrides | LimitOverrides


def said(overrides: Overrides) -> dict[str, float | int]:
    """The keys of ``overrides`` that were written, with their values."""
    pairs = ((each.name, getattr(overrides, each.name)) for each in fields(overrides))
    return {key: value for key, value in pairs if value is not None}
