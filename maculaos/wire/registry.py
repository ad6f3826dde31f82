"""The numbers of messages, errors and capabilities. Append only: a number is never used again."""

from __future__ import annotations

from enum import IntEnum, IntFlag

WIRE_VERSION = 1


class MessageType(IntEnum):
    """The second byte of every frame."""

    HANDSHAKE = 0x01
    HANDSHAKE_ACK = 0x02
    HEARTBEAT = 0x03
    PING = 0x04
    PONG = 0x05
    PING_REQUEST = 0x06
    NACK = 0x07
    DIGEST = 0x08
    # 0x10 to 0x13 carried single events in protocol 1.
    POST = 0x14
    WATCH = 0x15
    UNWATCH = 0x16
    DELIVERY = 0x17
    TAKEN = 0x18
    EVENTS = 0x19
    RECEIPT = 0x1A
    INTEREST = 0x1B
    INTEREST_DIGEST = 0x1C
    INTEREST_WANTED = 0x1D
    RPC_CALL = 0x20
    RPC_RESULT = 0x21
    RPC_ERROR = 0x22
    RPC_REGISTER = 0x23
    RPC_UNREGISTER = 0x24
    RPC_CANCEL = 0x25
    RPC_CREDIT = 0x26
    FIND_NODE = 0x30
    NODES = 0x31
    FIND_VALUE = 0x32
    VALUES = 0x33
    STORE = 0x34
    STORED = 0x35
    ROUTED = 0x38
    ERROR = 0xF0
    CLOSE = 0xFF


# What a dialler may say before HANDSHAKE_ACK, right behind its HANDSHAKE: to hear it twice is to
# hear it once. A HEARTBEAT only if it wants a reply.
IDEMPOTENT = frozenset(
    {
        MessageType.PING,
        MessageType.HEARTBEAT,
        MessageType.DIGEST,
        MessageType.FIND_NODE,
        MessageType.FIND_VALUE,
    }
)


class FrameFlag(IntFlag):
    """The third and fourth byte of every frame; an unknown flag is an error."""

    COMPRESSED = 0x0001
    FRAGMENTED = 0x0002


class StreamClass(IntEnum):
    """The first byte of every unidirectional stream says what travels on it."""

    CONTROL = 0x00
    MESSAGES = 0x01
    BULK = 0x02
    URGENT = 0x03
    HIGH = 0x04
    LOW = 0x05


# The classes of messages by priority; a message that says none has ``DEFAULT_PRIORITY``.
MESSAGE_STREAMS = (StreamClass.URGENT, StreamClass.HIGH, StreamClass.MESSAGES, StreamClass.LOW)
DEFAULT_PRIORITY = 2


class ErrorCode(IntEnum):
    """Why a frame was refused (ERROR) or a link ended (CLOSE, and the QUIC application code)."""

    NO_ERROR = 0x00
    UNSUPPORTED_VERSION = 0x01
    UNKNOWN_TYPE = 0x02
    MALFORMED = 0x03
    TOO_LARGE = 0x04
    NOT_ALLOWED_YET = 0x05
    HANDSHAKE_TIMEOUT = 0x06
    WRONG_REALM = 0x07
    IDENTITY_MISMATCH = 0x08
    DUPLICATE_LINK = 0x09
    SHUTTING_DOWN = 0x0A
    SELF_DIALLED = 0x0B
    LIMIT_EXCEEDED = 0x0C
    INTERNAL = 0x0D
    SPARE_LINK = 0x0E


class RpcErrorCode(IntEnum):
    """Why a call has no result."""

    NO_PROVIDER = 0x01
    DEADLINE_EXCEEDED = 0x02
    HANDLER_FAILED = 0x03
    PROVIDER_LOST = 0x04
    OVERLOADED = 0x05
    INVALID_REQUEST = 0x06
    CANCELLED = 0x07
    NOT_DELIVERED = 0x08


class Policy(IntEnum):
    """What gives way when a subscription's queue is full."""

    # An acknowledged event is not taken, and offered again; any other one is dropped.
    BLOCK = 0
    DROP_OLDEST = 1
    DROP_NEWEST = 2
    # The subscription ends with an error.
    DISCONNECT = 3


class Choice(IntEnum):
    """Which of several providers of a method is called."""

    # This node's own clients first, then neighbours, then others; each in turn.
    NEAREST = 0
    ROUND_ROBIN = 1
    RANDOM = 2
    # The one that the fewest calls of this node wait for.
    LEAST_PENDING = 3


class Answering(IntEnum):
    """What a caller wants back."""

    ONE = 0
    # A cast: nothing, not even an error.
    NONE = 1
    # Any number of results, each but the last with ``more``.
    STREAM = 2
