"""Message bodies and their codec: MessagePack arrays whose fields are only ever appended.

Every type is a frozen value. A field that a newer peer appends is ignored by an older one; a
field that an older peer leaves out takes its default. Application payloads stay encoded
(``Raw``) so that a node can pass them on without reading them; see ``values``.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct, structs

from maculaos.wire.events import (
    MAX_SUBSCRIPTIONS,
    MAX_WISHES,
    Delivery,
    Events,
    Interest,
    InterestDigest,
    InterestWanted,
    Post,
    Receipt,
    Taken,
    Unwatch,
    Watch,
)
from maculaos.wire.frames import Frame, FrameError, encode_frame
from maculaos.wire.registry import IDEMPOTENT, ErrorCode, MessageType
from maculaos.wire.seals import MAX_TAKEN
from maculaos.wire.table import (
    Addresses,
    FindNode,
    FindValue,
    Nodes,
    Routed,
    Store,
    Stored,
    Values,
)
from maculaos.wire.values import MAX_VALUE_SIZE

# A view goes in frames of so many; a probe carries what a datagram takes.
MAX_RUMOURS: Final = 4000
MAX_RUMOURS_OF_PROBE: Final = 32

# A node may take as many methods as subscriptions of its clients, and withdraws all at once.
Methods: TypeAlias = Annotated[tuple[str, ...], Meta(max_length=MAX_SUBSCRIPTIONS)]


class Rumour(Struct, frozen=True, array_like=True):
    """What one node says of another; the wire form of a membership entry."""

    node_id: bytes
    name: str
    addresses: Addresses
    incarnation: int
    health: int
    # What the node tells of itself beside, at most 512 bytes.
    metadata: bytes = b""
    # The node that says so, of a suspect or a dead member.
    accuser: bytes = b""


FewRumours: TypeAlias = Annotated[tuple[Rumour, ...], Meta(max_length=MAX_RUMOURS_OF_PROBE)]


class Handshake(Struct, frozen=True, array_like=True):
    """First frame of a link, from the side that dialled (and of a client on the socket)."""

    protocol: int
    realm: str
    node_id: bytes
    name: str
    addresses: Addresses
    software: str
    # Drawn anew at every start of the node: links to another life of it are dead. 0: not said.
    life: int = 0


class HandshakeAck(Struct, frozen=True, array_like=True):
    """The answer: only now does anything else count."""

    protocol: int
    realm: str
    node_id: bytes
    name: str
    addresses: Addresses
    software: str
    # Drawn anew at every start of the node: links to another life of it are dead. 0: not said.
    life: int = 0


class Heartbeat(Struct, frozen=True, array_like=True):
    """Membership: rumours that are news, or what the sender holds; ``wants_reply`` asks for more.

    With ``buckets``, a byte each, they are all of these buckets of a view, or the answer to that.
    """

    rumours: Annotated[tuple[Rumour, ...], Meta(max_length=MAX_RUMOURS)]
    wants_reply: bool = False
    buckets: bytes = b""


class Ping(Struct, frozen=True, array_like=True):
    """A probe; it carries rumours along."""

    sequence: int
    rumours: FewRumours = ()
    # It came on a stream, which loses nothing, and is answered there.
    is_urgent: bool = False


class Pong(Struct, frozen=True, array_like=True):
    """The answer to the probe of that sequence number."""

    sequence: int
    rumours: FewRumours = ()


class PingRequest(Struct, frozen=True, array_like=True):
    """Probe ``target`` for me, and answer PONG of my sequence number if it does."""

    sequence: int
    target: bytes


class Nack(Struct, frozen=True, array_like=True):
    """The PING_REQUEST of that sequence number came to nothing."""

    sequence: int


class Digest(Struct, frozen=True, array_like=True):
    """The digest of a view: of how many members, in one number, or by 256 buckets as well."""

    members: int
    total: int
    buckets: bytes = b""


class RpcCall(Struct, frozen=True, array_like=True):
    """A call; ``deadline_ms`` is the time left, in milliseconds, when it was sent."""

    call: int
    method: str
    deadline_ms: int
    caller: bytes
    payload: Raw
    # See ``Choice`` and ``Answering``.
    choice: int = 0
    answering: int = 0
    # Of a stream: so many results may be sent before RPC_CREDIT.
    credit: int = 0


class RpcResult(Struct, frozen=True, array_like=True):
    """The result of the call of that number on this link."""

    call: int
    payload: Raw
    # Further results follow; only to a call that wants a stream.
    more: bool = False
    # Of a stream in envelopes, which overtake each other: 1 for the first part; else 0.
    index: int = 0


class RpcError(Struct, frozen=True, array_like=True):
    """The call of that number on this link has no result."""

    call: int
    code: int
    detail: str = ""
    # As in RPC_RESULT: an error is the last part of a stream.
    index: int = 0


class RpcRegister(Struct, frozen=True, array_like=True):
    """The sender answers calls of these methods."""

    methods: Methods
    # A client takes so many calls of each at once; 0: all that come.
    concurrency: int = 0
    # Of a client: answered by RPC_RESULT or RPC_ERROR of that number; 0: only a refusal, by ERROR.
    request: int = 0


class RpcUnregister(Struct, frozen=True, array_like=True):
    """The sender no longer answers calls of these methods."""

    methods: Methods


class RpcCancel(Struct, frozen=True, array_like=True):
    """The caller no longer wants the result of the call of that number."""

    call: int


class RpcCredit(Struct, frozen=True, array_like=True):
    """So many results more may be sent in the stream of that call."""

    call: int
    credit: int


class Error(Struct, frozen=True, array_like=True):
    """The last frame on that stream was refused."""

    code: int
    detail: str = ""
    # The frame version that the sender speaks. 0: not said.
    version: int = 0


class Close(Struct, frozen=True, array_like=True):
    """The sender ends the link on purpose."""

    code: int
    reason: str = ""


Message: TypeAlias = (
    Handshake | HandshakeAck | Heartbeat | Ping | Pong | PingRequest | Nack | Digest
    | Post | Watch | Unwatch | Delivery | Taken | Events | Receipt
    | Interest | InterestDigest | InterestWanted
    | RpcCall | RpcResult | RpcError | RpcRegister | RpcUnregister | RpcCancel | RpcCredit
    | FindNode | Nodes | FindValue | Values | Store | Stored | Routed
    | Error | Close
)  # fmt: skip

_BODIES: Final[dict[MessageType, type[Message]]] = {
    MessageType.HANDSHAKE: Handshake,
    MessageType.HANDSHAKE_ACK: HandshakeAck,
    MessageType.HEARTBEAT: Heartbeat,
    MessageType.PING: Ping,
    MessageType.PONG: Pong,
    MessageType.PING_REQUEST: PingRequest,
    MessageType.NACK: Nack,
    MessageType.DIGEST: Digest,
    MessageType.POST: Post,
    MessageType.WATCH: Watch,
    MessageType.UNWATCH: Unwatch,
    MessageType.DELIVERY: Delivery,
    MessageType.TAKEN: Taken,
    MessageType.EVENTS: Events,
    MessageType.RECEIPT: Receipt,
    MessageType.INTEREST: Interest,
    MessageType.INTEREST_DIGEST: InterestDigest,
    MessageType.INTEREST_WANTED: InterestWanted,
    MessageType.RPC_CALL: RpcCall,
    MessageType.RPC_RESULT: RpcResult,
    MessageType.RPC_ERROR: RpcError,
    MessageType.RPC_REGISTER: RpcRegister,
    MessageType.RPC_UNREGISTER: RpcUnregister,
    MessageType.RPC_CANCEL: RpcCancel,
    MessageType.RPC_CREDIT: RpcCredit,
    MessageType.FIND_NODE: FindNode,
    MessageType.NODES: Nodes,
    MessageType.FIND_VALUE: FindValue,
    MessageType.VALUES: Values,
    MessageType.STORE: Store,
    MessageType.STORED: Stored,
    MessageType.ROUTED: Routed,
    MessageType.ERROR: Error,
    MessageType.CLOSE: Close,
}
_NUMBERS: Final = {body: number for number, body in _BODIES.items()}
# Payloads are views of their frame and keep all of it. So much of a frame may be something else.
_LOOSE: Final = 4096
_WITH_PAYLOADS: Final = frozenset({Post, Events, RpcCall, RpcResult})
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final = {number: msgspec.msgpack.Decoder(body) for number, body in _BODIES.items()}


class _LongSeal(Struct, array_like=True):
    """A seal as far as the list that may be too long, which stays unread."""

    life: int
    number: int
    stamp_ms: int
    age_ms: int
    taken: Raw


class _LongRouted(Struct, array_like=True):
    target: bytes
    source: bytes
    hops: int
    frame: Raw
    seal: _LongSeal


class _LongInterest(Struct, array_like=True):
    """A change of interest as far as the list that may be too long; the lists stay unread."""

    node: bytes
    life: int
    version: int
    added: Raw
    removed: Raw


_LONG_ROUTED: Final = msgspec.msgpack.Decoder(_LongRouted)
_LONG_INTEREST: Final = msgspec.msgpack.Decoder(_LongInterest)


def body_frame(message: Message) -> Frame:
    """The one plain frame that carries ``message``, before it is written as bytes."""
    return Frame(_NUMBERS[type(message)], _ENCODER.encode(message))


def may_travel_early(message: Message) -> bool:
    """Whether a dialler may say ``message`` before it has the answer to its HANDSHAKE."""
    if isinstance(message, Heartbeat):
        return message.wants_reply
    return _NUMBERS[type(message)] in IDEMPOTENT


def encode_message(message: Message) -> bytes:
    """The bytes of the one plain frame that carries ``message``; ``FrameError`` above 16 MiB."""
    return encode_frame(body_frame(message))


def decode_message(frame: Frame) -> Message:
    """The message that ``frame`` carries.

    Raises ``FrameError`` for an unknown type, a flag that this version does not handle, or a
    body that does not have the fields of its type.
    """
    decoder = _DECODERS.get(frame.kind)  # type: ignore[call-overload]  # an int finds its IntEnum
    if decoder is None:
        raise FrameError(ErrorCode.UNKNOWN_TYPE, f"type 0x{frame.kind:02x}")
    if frame.flags:
        raise FrameError(ErrorCode.MALFORMED, f"flags 0x{frame.flags:04x} are not in use")
    try:
        message: Message = decoder.decode(frame.payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        if (spared := _spared(frame)) is not None:
            return spared
        name = MessageType(frame.kind).name
        raise FrameError(ErrorCode.MALFORMED, f"{name}: {error}") from error
    if len(frame.payload) > _LOOSE and type(message) in _WITH_PAYLOADS:
        return _let_go(message, len(frame.payload))
    return message


def _spared(frame: Frame) -> Message | None:
    """A word that says nothing, instead of one with a list that its bringer did not look at.

    Nodes that bound no arrays pass on seals and changes of interest of others unread. Such an
    envelope goes no further, and such a change is not heard; who brings it is not blamed.
    """
    try:
        if frame.kind == MessageType.ROUTED:
            routed = _LONG_ROUTED.decode(frame.payload)
            if _length(routed.seal.taken) > MAX_TAKEN:
                return Routed(routed.target, routed.source, min(routed.hops, 1), b"")
        elif frame.kind == MessageType.INTEREST:
            change = _LONG_INTEREST.decode(frame.payload)
            if _length(change.added) <= MAX_WISHES < _length(change.removed):
                return Interest(change.node, 0, 0, ())
    except (msgspec.MsgspecError, RecursionError):
        pass
    return None


def _length(array: Raw) -> int:
    """How many items a MessagePack array says that it has; 0 for fewer than 16, or no array."""
    head = bytes(memoryview(array)[:5])
    match head[:1]:
        case b"\xdc":
            return int.from_bytes(head[1:3])
        case b"\xdd":
            return int.from_bytes(head[1:])
        case _:
            return 0


def _let_go(message: Message, size: int) -> Message:
    """``message`` without the frame of ``size`` bytes that it came in, if that is mostly waste.

    What is kept of it is counted by its payloads: a frame with one byte in fields that nobody
    knows would keep its megabytes. Raises ``FrameError`` for events that no publisher may send.
    """
    match message:
        case Post(payloads=payloads) | Events(payloads=payloads):
            held = sum(map(len, payloads))
            if held > MAX_VALUE_SIZE and isinstance(message, Events):
                # It goes to clients in another frame, and has to fit into that, too.
                raise FrameError(ErrorCode.MALFORMED, f"EVENTS: {held} bytes of payloads")
            if 2 * held + _LOOSE >= size:
                return message
            copies = tuple(Raw(bytes(payload)) for payload in payloads)
            return structs.replace(message, payloads=copies)
        case RpcCall(payload=payload) | RpcResult(payload=payload):
            if 2 * len(payload) + _LOOSE >= size:
                return message
            return structs.replace(message, payload=Raw(bytes(payload)))
        case _:
            return message
