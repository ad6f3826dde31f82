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
    PUBLISH = 0x10
    SUBSCRIBE = 0x11
    UNSUBSCRIBE = 0x12
    EVENT = 0x13
    RPC_CALL = 0x20
    RPC_RESULT = 0x21
    RPC_ERROR = 0x22
    RPC_REGISTER = 0x23
    RPC_UNREGISTER = 0x24
    ERROR = 0xF0
    CLOSE = 0xFF


class FrameFlag(IntFlag):
    """The third and fourth byte of every frame; an unknown flag is an error."""

    COMPRESSED = 0x0001
    FRAGMENTED = 0x0002


class StreamClass(IntEnum):
    """The first byte of every unidirectional stream says what travels on it."""

    CONTROL = 0x00
    MESSAGES = 0x01
    BULK = 0x02


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


class RpcErrorCode(IntEnum):
    """Why a call has no result."""

    NO_PROVIDER = 0x01
    DEADLINE_EXCEEDED = 0x02
    HANDLER_FAILED = 0x03
    PROVIDER_LOST = 0x04
    OVERLOADED = 0x05
    INVALID_REQUEST = 0x06
