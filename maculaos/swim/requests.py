"""What membership asks of the node: packets to linked members, and news to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from maculaos.identity import NodeId
from maculaos.swim.rumour import Rumour


@dataclass(frozen=True, slots=True)
class SendPing:
    """Probe a linked member; an urgent one takes the way that loses nothing."""

    to: NodeId
    sequence: int
    rumours: tuple[Rumour, ...]
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class SendRelayedPing:
    """Probe a member without link over those between, for somebody who asked."""

    to: NodeId
    sequence: int


@dataclass(frozen=True, slots=True)
class SendPong:
    """Answer the probe of that sequence number; an urgent one on the way that it came."""

    to: NodeId
    sequence: int
    rumours: tuple[Rumour, ...]
    is_urgent: bool = False


@dataclass(frozen=True, slots=True)
class SendPingRequest:
    """Ask a linked member to probe ``target``, and to answer in its stead."""

    to: NodeId
    sequence: int
    target: NodeId


@dataclass(frozen=True, slots=True)
class SendNack:
    """This node cannot tell anything of the target that it was asked to probe."""

    to: NodeId
    sequence: int


@dataclass(frozen=True, slots=True)
class SendDigest:
    """Tell a linked member the digest of the view, in one number or, if not empty, by bucket."""

    to: NodeId
    members: int
    total: int
    buckets: bytes = b""


@dataclass(frozen=True, slots=True)
class SendState:
    """Tell a linked member these rumours; ``wants_reply`` asks for its own.

    With ``buckets``, a byte each, they are all that this node holds in these buckets of its view,
    or its answer to that; without, they are gossip.
    """

    to: NodeId
    rumours: tuple[Rumour, ...]
    wants_reply: bool = False
    buckets: bytes = b""


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """The view of one member changed; ``before`` is ``None`` for a new one."""

    before: Rumour | None
    after: Rumour


@dataclass(frozen=True, slots=True)
class MemberForgotten:
    """The tombstone of a member that is gone has expired."""

    member: Rumour


Packet: TypeAlias = SendPing | SendPong | SendPingRequest | SendNack | SendDigest | SendState
Request: TypeAlias = Packet | SendRelayedPing | MemberChanged | MemberForgotten
