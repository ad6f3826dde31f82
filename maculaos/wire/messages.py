"""Message bodies and their codec: MessagePack arrays whose fields are only ever appended.

Every type is a frozen value. A field that a newer peer appends is ignored by an older one; a
field that an older peer leaves out takes its default. Application payloads stay encoded
(``Raw``) so that a node can pass them on without reading them; see ``values``.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Raw, Struct

from maculaos.wire.frames import Frame, FrameError, encode_frame
from maculaos.wire.registry import ErrorCode, MessageType


class Rumour(Struct, frozen=True, array_like=True):
    """What one node says of another; the wire form of a membership entry."""

    node_id: bytes
    name: str
    addresses: tuple[str, ...]
    incarnation: int
    health: int


class Handshake(Struct, frozen=True, array_like=True):
    """First frame of a link, from the side that dialled (and of a client on the socket)."""

    protocol: int
    realm: str
    node_id: bytes
    name: str
    addresses: tuple[str, ...]
    software: str
    # Drawn anew at every start of the node: links to another life of it are dead. 0: not said.
    life: int = 0


class HandshakeAck(Struct, frozen=True, array_like=True):
    """The answer: only now does anything else count."""

    protocol: int
    realm: str
    node_id: bytes
    name: str
    addresses: tuple[str, ...]
    software: str
    # Drawn anew at every start of the node: links to another life of it are dead. 0: not said.
    life: int = 0


class Heartbeat(Struct, frozen=True, array_like=True):
    """Push-pull of membership: everything the sender knows; ``wants_reply`` asks for the same."""

    rumours: tuple[Rumour, ...]
    wants_reply: bool = False


class Ping(Struct, frozen=True, array_like=True):
    """A probe; it carries rumours along."""

    sequence: int
    rumours: tuple[Rumour, ...] = ()


class Pong(Struct, frozen=True, array_like=True):
    """The answer to the probe of that sequence number."""

    sequence: int
    rumours: tuple[Rumour, ...] = ()


class Publish(Struct, frozen=True, array_like=True):
    """A client asks its node to publish."""

    request: int
    topic: str
    payload: Raw


class Subscribe(Struct, frozen=True, array_like=True):
    """The sender wants events of these topics."""

    topics: tuple[str, ...]


class Unsubscribe(Struct, frozen=True, array_like=True):
    """The sender no longer wants events of these topics."""

    topics: tuple[str, ...]


class Event(Struct, frozen=True, array_like=True):
    """One published message on its way to a subscriber."""

    topic: str
    publisher: bytes
    sequence: int
    payload: Raw


class RpcCall(Struct, frozen=True, array_like=True):
    """A call; ``deadline_ms`` is the time left, in milliseconds, when it was sent."""

    call: int
    method: str
    deadline_ms: int
    caller: bytes
    payload: Raw


class RpcResult(Struct, frozen=True, array_like=True):
    """The result of the call of that number on this link."""

    call: int
    payload: Raw


class RpcError(Struct, frozen=True, array_like=True):
    """The call of that number on this link has no result."""

    call: int
    code: int
    detail: str = ""


class RpcRegister(Struct, frozen=True, array_like=True):
    """The sender answers calls of these methods."""

    methods: tuple[str, ...]


class RpcUnregister(Struct, frozen=True, array_like=True):
    """The sender no longer answers calls of these methods."""

    methods: tuple[str, ...]


class Error(Struct, frozen=True, array_like=True):
    """The last frame on that stream was refused."""

    code: int
    detail: str = ""


class Close(Struct, frozen=True, array_like=True):
    """The sender ends the link on purpose."""

    code: int
    reason: str = ""


Message: TypeAlias = (
    Handshake | HandshakeAck | Heartbeat | Ping | Pong
    | Publish | Subscribe | Unsubscribe | Event
    | RpcCall | RpcResult | RpcError | RpcRegister | RpcUnregister
    | Error | Close
)  # fmt: skip

_BODIES: Final[dict[MessageType, type[Message]]] = {
    MessageType.HANDSHAKE: Handshake,
    MessageType.HANDSHAKE_ACK: HandshakeAck,
    MessageType.HEARTBEAT: Heartbeat,
    MessageType.PING: Ping,
    MessageType.PONG: Pong,
    MessageType.PUBLISH: Publish,
    MessageType.SUBSCRIBE: Subscribe,
    MessageType.UNSUBSCRIBE: Unsubscribe,
    MessageType.EVENT: Event,
    MessageType.RPC_CALL: RpcCall,
    MessageType.RPC_RESULT: RpcResult,
    MessageType.RPC_ERROR: RpcError,
    MessageType.RPC_REGISTER: RpcRegister,
    MessageType.RPC_UNREGISTER: RpcUnregister,
    MessageType.ERROR: Error,
    MessageType.CLOSE: Close,
}
_NUMBERS: Final = {body: number for number, body in _BODIES.items()}
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final = {number: msgspec.msgpack.Decoder(body) for number, body in _BODIES.items()}


def encode_message(message: Message) -> bytes:
    """The frame that carries ``message``."""
    return encode_frame(Frame(_NUMBERS[type(message)], _ENCODER.encode(message)))


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
        name = MessageType(frame.kind).name
        raise FrameError(ErrorCode.MALFORMED, f"{name}: {error}") from error
    return message
