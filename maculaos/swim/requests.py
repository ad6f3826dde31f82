"""What membership asks of the node: packets to linked members, and news to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from maculaos.identity import NodeId
from maculaos.swim.rumour import Rumour


@dataclass(frozen=True, slots=True)
class SendPing:
    """Probe a linked member."""

    to: NodeId
    sequence: int
    rumours: tuple[Rumour, ...]


@dataclass(frozen=True, slots=True)
class SendPong:
    """Answer the probe of that sequence number."""

    to: NodeId
    sequence: int
    rumours: tuple[Rumour, ...]


@dataclass(frozen=True, slots=True)
class SendState:
    """Tell a linked member these rumours; ``wants_reply`` asks for all of its own."""

    to: NodeId
    rumours: tuple[Rumour, ...]
    wants_reply: bool = False


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """The view of one member changed; ``before`` is ``None`` for a new one."""

    before: Rumour | None
    after: Rumour


@dataclass(frozen=True, slots=True)
class MemberForgotten:
    """The tombstone of a member that is gone has expired."""

    member: Rumour


Request: TypeAlias = SendPing | SendPong | SendState | MemberChanged | MemberForgotten
