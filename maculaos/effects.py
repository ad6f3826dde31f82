"""What the node wants done: plain values that the daemon, or the simulator, carries out.

A link is one established connection to another node, a client is one connection of the control
socket; both are numbers that the shell hands out and never uses again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from maculaos.wire.messages import Message
from maculaos.wire.registry import ErrorCode, StreamClass


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a link to whoever listens at ``address`` (``host:port``).

    ``first_words`` are said right behind the greeting, with the first datagram where a ticket
    allows it: only what may be heard twice.
    """

    address: str
    first_words: tuple[Message, ...] = ()


class Carriage(Enum):
    """How a message travels on its link."""

    #: On a stream: it arrives whole, once and in order, however late.
    STREAM = "stream"
    #: In a datagram, now or never, before whatever waits on streams. One that fits none goes on
    #: the stream that was named.
    DATAGRAM = "datagram"


# The two that are made for every event and call are structs: they cost a quarter to make.
class Send(Struct, frozen=True):
    """Put ``message`` on the queue of that link."""

    link: int
    message: Message
    stream: StreamClass
    carriage: Carriage = Carriage.STREAM


@dataclass(frozen=True, slots=True)
class CloseLink:
    """End a link on purpose, telling the peer why.

    For ``grace_s`` seconds before, what was sent over it may still arrive, in both directions.
    """

    link: int
    code: ErrorCode
    reason: str
    grace_s: float = 0.0


class SendToClient(Struct, frozen=True):
    """Put ``message`` on the queue of that client."""

    client: int
    message: Message


@dataclass(frozen=True, slots=True)
class CloseClient:
    """End the connection of that client."""

    client: int
    code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True)
class RecordsFound:
    """What is said under ``key`` in the distributed table, one value for each who says it."""

    key: bytes
    values: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator would want in the log, with its facts."""

    event: str
    facts: tuple[tuple[str, str], ...] = ()


Effect: TypeAlias = Dial | Send | CloseLink | SendToClient | CloseClient | RecordsFound | Note
