"""Application values: bytes, or what JSON can say; the codec's own types never reach a user.

MessagePack knows more (dates, extension types, maps with any key); those are refused in both
directions, so that every language and the HTTP world can read what a node passes on.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Raw

from maculaos.errors import RemoteProtocolError, UsageError
from maculaos.wire.frames import MAX_PAYLOAD_SIZE

Value: TypeAlias = (
    "bool | int | float | str | bytes | list[Value] | tuple[Value, ...] | dict[str, Value] | None"
)

MAX_DEPTH: Final = 64
# A value is passed on in other frames than it came in; names and numbers around it fit the rest.
MAX_VALUE_SIZE: Final = MAX_PAYLOAD_SIZE - 1024
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder()


def encode_value(value: Value) -> Raw:
    """``value`` as a payload.

    Raises ``UsageError`` for what is neither bytes nor JSON-like, and above ``MAX_VALUE_SIZE``.
    """
    complaint = _complaint(value)
    if complaint:
        raise UsageError(f"cannot send {complaint}", "send bytes, or what JSON can say")
    try:
        encoded = _ENCODER.encode(value)
    except UnicodeEncodeError as error:
        raise UsageError("cannot send text with lone surrogates", "send it as bytes") from error
    if len(encoded) > MAX_VALUE_SIZE:
        what = f"cannot send a value of {len(encoded)} bytes, at most {MAX_VALUE_SIZE} fit"
        raise UsageError(what, "send it in parts")
    return Raw(encoded)


def decode_value(payload: Raw) -> Value:
    """The value a peer sent; raises ``RemoteProtocolError`` if it is not bytes or JSON-like."""
    try:
        value: Any = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise RemoteProtocolError(f"payload: {error}") from error
    complaint = _complaint(value)
    if complaint:
        raise RemoteProtocolError(f"payload holds {complaint}")
    return value  # type: ignore[no-any-return]  # checked by _complaint


def _complaint(value: object, depth: int = 0) -> str:
    """What is wrong with ``value``, or nothing."""
    if depth > MAX_DEPTH:
        return f"more than {MAX_DEPTH} levels"
    match value:
        case None | bool() | str() | bytes():
            return ""
        case int():
            return "" if -(2**63) <= value < 2**64 else "an integer beyond 64 bits"
        case float():
            return "" if math.isfinite(value) else f"the number {value}"
        case list() | tuple():
            return next((bad for item in value if (bad := _complaint(item, depth + 1))), "")
        case dict():
            return _complaint_of_map(value, depth)
        case _:
            return f"a {type(value).__name__}"


def _complaint_of_map(mapping: dict[object, object], depth: int) -> str:
    for key, item in mapping.items():
        if not isinstance(key, str):
            return f"a map with the key {key!r}"
        if bad := _complaint(item, depth + 1):
            return bad
    return ""
